// Decoder of bitmap and values: each kept value goes to its position.
//
// Row: mask_decoder (accelsim/timing/stations.py); bits: accelsim/storage/bitmap.py.
// POSITIONS  mask_decoder.positions_per_cycle      VALUE_BITS  of a value
//
// Bitmap and values are two streams; `start` gives the positions. POSITIONS of them come a cycle, the first in the lowest place.
module weights_bitmap #(
    parameter POSITIONS = 16,
    parameter VALUE_BITS = 8
) (
    input  logic                                clk,
    input  logic                                rst,
    input  logic                                start,
    input  logic [31:0]                         num_positions,
    input  logic                                map_valid,
    output logic                                map_ready,
    input  logic [POSITIONS-1:0]                map_bits,
    input  logic                                values_valid,
    output logic                                values_ready,
    input  logic [POSITIONS*VALUE_BITS-1:0]     values_bits,
    output logic                                out_valid,
    input  logic                                out_ready,
    output logic [POSITIONS*VALUE_BITS-1:0]     weights
);
  localparam R = $clog2(POSITIONS + 1);
  localparam V = POSITIONS * VALUE_BITS;

  logic [31:0] left;
  logic [POSITIONS-1:0] map, all, there;
  logic [V-1:0] values;
  logic [$clog2(2*POSITIONS+1)-1:0] have_map;
  logic [$clog2(2*V+1)-1:0] have_values;
  logic [R*POSITIONS-1:0] place;
  logic [R-1:0] total;
  wire [R-1:0] count = left < POSITIONS ? left : POSITIONS;
  wire takes = out_valid && out_ready;

  bit_window #(.IN(POSITIONS), .SHOW(POSITIONS)) of_map (
      .clk(clk), .rst(rst || start), .in_valid(map_valid), .in_ready(map_ready), .in_bits(map_bits), .in_size(POSITIONS),
      .show(map), .have(have_map), .take(takes ? count : {R{1'b0}}));
  bit_window #(.IN(V), .SHOW(V)) of_values (
      .clk(clk), .rst(rst || start), .in_valid(values_valid), .in_ready(values_ready), .in_bits(values_bits), .in_size(V),
      .show(values), .have(have_values), .take(takes ? total * VALUE_BITS : 0));

  assign all = {POSITIONS{1'b1}};
  assign there = map & ~(all >> count);
  always_comb begin
    total = 0;
    for (int p = 0; p < POSITIONS; p = p + 1) begin
      place[R*p+:R] = total;
      total = total + there[POSITIONS-1-p];
    end
  end
  always_comb begin
    for (int p = 0; p < POSITIONS; p = p + 1)
      weights[VALUE_BITS*p+:VALUE_BITS] =
          there[POSITIONS-1-p] ? values[VALUE_BITS*(POSITIONS-1-place[R*p+:R])+:VALUE_BITS] : {VALUE_BITS{1'b0}};
  end
  assign out_valid = left != 0 && have_map >= count && have_values >= total * VALUE_BITS;
  always_ff @(posedge clk) begin
    if (rst) left <= 0;
    else if (start) left <= num_positions;
    else if (takes) left <= left - count;
  end
endmodule
