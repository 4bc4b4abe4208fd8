// Decoder of raw masks: stored bits are mask bits.
//
// Row: mask_decoder (accelsim/timing/stations.py); bits: accelsim/ticket/codecs.py, raw.
// POSITIONS  mask_decoder.positions_per_cycle
//
// `start` gives the number of mask bits; then up to POSITIONS of them come a cycle: bit 0 is the first, `count` are there.
module mask_raw #(
    parameter POSITIONS = 64,
    parameter IN = 64
) (
    input  logic                           clk,
    input  logic                           rst,
    input  logic                           start,
    input  logic [31:0]                    num_bits,
    input  logic                           in_valid,
    output logic                           in_ready,
    input  logic [IN-1:0]                  in_bits,
    output logic                           out_valid,
    input  logic                           out_ready,
    output logic [POSITIONS-1:0]           bits,
    output logic [$clog2(POSITIONS+1)-1:0] count
);
  logic [31:0] left;
  logic [POSITIONS-1:0] show;
  logic [$clog2(IN+POSITIONS+1)-1:0] have;
  wire takes = out_valid && out_ready;

  bit_window #(.IN(IN), .SHOW(POSITIONS)) window (
      .clk(clk), .rst(rst || start), .in_valid(in_valid), .in_ready(in_ready), .in_bits(in_bits), .in_size(IN),
      .show(show), .have(have), .take(takes ? count : {$clog2(POSITIONS+1){1'b0}}));

  assign count = left < POSITIONS ? left : POSITIONS;
  assign out_valid = left != 0 && have >= count;
  genvar p;
  generate
    for (p = 0; p < POSITIONS; p = p + 1) begin : turn
      assign bits[p] = show[POSITIONS-1-p];
    end
  endgenerate
  always_ff @(posedge clk) begin
    if (rst) left <= 0;
    else if (start) left <= num_bits;
    else if (takes) left <= left - count;
  end
endmodule
