// Runs become mask bits: a run of the commoner bit, with or without a rarer bit at its end. POSITIONS bits a cycle.
//
// Row: mask_decoder (accelsim/timing/stations.py), behind the decoders of rle and golomb.
// POSITIONS  mask_decoder.positions_per_cycle
//
// A run of `length` bits (its rarer end included) is taken where `run_ready`; a longer one than POSITIONS takes the
// cycles that it needs. `fill`: no run comes any more, and the rest of the mask is the commoner bit.
module run_writer #(
    parameter POSITIONS = 64
) (
    input  logic                           clk,
    input  logic                           rst,
    input  logic                           start,
    input  logic [31:0]                    num_bits,
    input  logic                           inverted,
    input  logic                           run_valid,
    output logic                           run_ready,
    input  logic [31:0]                    length,
    input  logic                           ends,
    input  logic                           fill,
    output logic                           out_valid,
    input  logic                           out_ready,
    output logic [POSITIONS-1:0]           bits,
    output logic [$clog2(POSITIONS+1)-1:0] count
);
  logic [31:0] left, rest;
  logic rest_ends;
  wire has_rest = rest != 0;
  wire [31:0] total = has_rest ? rest : run_valid ? length : left;
  wire whole = total <= POSITIONS;
  wire ends_here = whole && (has_rest ? rest_ends : run_valid && ends);
  wire takes = out_valid && out_ready;

  assign count = whole ? total : POSITIONS;
  assign out_valid = left != 0 && (has_rest || run_valid || fill);
  assign run_ready = takes && !has_rest;
  always_comb begin
    for (int p = 0; p < POSITIONS; p = p + 1) bits[p] = inverted ^ (ends_here && p + 1 == count);
  end
  always_ff @(posedge clk) begin
    if (rst || start) begin
      left <= rst ? 0 : num_bits;
      rest <= 0;
    end else if (takes) begin
      left <= left - count;
      rest <= total - count;
      if (!has_rest) rest_ends <= run_valid && ends;
    end
  end
endmodule
