// The mask buffer as a queue: DMA writes words, the decoder reads them in order.
//
// Row: dma (its requests of weights fill it) and mask_decoder (its tiles free it) in accelsim/timing/stations.py.
// WIDTH  mask_buffer.width_bits      DEPTH  words: mask_buffer.capacity_bytes over the width
module mask_fifo #(
    parameter WIDTH = 64,
    parameter DEPTH = 2048
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             in_valid,
    output logic             in_ready,
    input  logic [WIDTH-1:0] in_bits,
    output logic             out_valid,
    input  logic             out_ready,
    output logic [WIDTH-1:0] out_bits
);
  localparam A = $clog2(DEPTH);

  logic [WIDTH-1:0] memory[0:DEPTH-1];
  logic [A:0] written, read;
  wire [A:0] level = written - read;  // modulo 2 DEPTH

  assign out_valid = written != read;
  assign in_ready = level != DEPTH;
  assign out_bits = memory[read[A-1:0]];
  always_ff @(posedge clk) begin
    if (in_valid && in_ready) memory[written[A-1:0]] <= in_bits;
    if (rst) {written, read} <= 0;
    else begin
      if (in_valid && in_ready) written <= written + 1'b1;
      if (out_valid && out_ready) read <= read + 1'b1;
    end
  end
endmodule
