// The next bits of a stream that arrives in words; any number of them is taken a cycle.
//
// Row: mask_decoder (accelsim/timing/stations.py), between mask buffer and decoder: mask_buffer.width_bits = IN.
// IN  bits of an arriving word      SHOW  bits that are shown, and the most that are taken in a cycle
//
// `in_size` bits of a word count, those of the highest places; the others are 0. Words of IN bits are the rule.
// The first bit is the most significant one, in words and in `show`, as codecs pack them. Bits behind `have` are 0.
module bit_window #(
    parameter IN = 32,
    parameter SHOW = 32
) (
    input  logic                         clk,
    input  logic                         rst,
    input  logic                         in_valid,
    output logic                         in_ready,
    input  logic [IN-1:0]                in_bits,
    input  logic [$clog2(IN+1)-1:0]      in_size,
    output logic [SHOW-1:0]              show,
    output logic [$clog2(IN+SHOW+1)-1:0] have,
    input  logic [$clog2(SHOW+1)-1:0]    take
);
  localparam SIZE = IN + SHOW;

  logic [SIZE-1:0] store;
  wire [$clog2(SIZE+1)-1:0] rest = have - take;

  assign show = store[SIZE-1-:SHOW];
  assign in_ready = rest <= SHOW;
  always_ff @(posedge clk) begin
    if (rst) begin
      store <= {SIZE{1'b0}};
      have <= 0;
    end else if (in_valid && in_ready) begin
      store <= (store << take) | ({in_bits, {SHOW{1'b0}}} >> rest);
      have <= rest + in_size;
    end else begin
      store <= store << take;
      have <= rest;
    end
  end
endmodule
