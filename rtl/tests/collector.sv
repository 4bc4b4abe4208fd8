// Bits that come in any number a cycle, in blocks of BLOCK for the test to read: `full` rises a cycle after `block` has changed.
module collector #(
    parameter MOST = 64,
    parameter BLOCK = 2048
) (
    input  logic                      clk,
    input  logic                      rst,
    input  logic                      valid,
    input  logic [MOST-1:0]           bits,   // the first in the lowest place
    input  logic [$clog2(MOST+1)-1:0] count,
    output logic                      full,
    output logic [BLOCK-1:0]          block,
    output logic [BLOCK+MOST-1:0]     store,  // what waits for the next block
    input  logic [31:0]               wanted,
    output logic                      done,   // rises a cycle after the last of the wanted bits
    output logic [31:0]               num_bits
);
  integer have;
  logic filled;
  always @(posedge clk) begin
    full <= filled;
    done <= !rst && num_bits == wanted;
    filled <= 1'b0;
    if (rst) begin
      have = 0;
      num_bits <= 0;
    end else if (valid) begin
      num_bits <= num_bits + count;
      store[have+:MOST] = bits;  // what is too much is written over
      have = have + count;
      if (have >= BLOCK) begin
        filled <= 1'b1;
        block <= store[BLOCK-1:0];
        store[MOST-1:0] = store[BLOCK+:MOST];
        have = have - BLOCK;
      end
    end
  end
endmodule
