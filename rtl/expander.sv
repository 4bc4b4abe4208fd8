// Mask bits of the free weights go to their positions: locked weights are kept, pruned ones dropped.
//
// Row: mask_decoder (accelsim/timing/stations.py), positions_per_cycle = POSITIONS, latency_cycles = 4:
// places within groups, places, bits fetched, bits spread.
//
// A chunk moves on a stage in each cycle that `moves` is high. It is low where the end is not taken, and where stored bits are missing.
module expander #(
    parameter POSITIONS = 64,
    parameter GROUP = 8
) (
    input  logic                                clk,
    input  logic                                rst,
    output logic                                moves,
    input  logic                                in_valid,
    input  logic                                in_last,      // of a tile
    input  logic [POSITIONS-1:0]                in_there,     // positions that the tile has
    input  logic [POSITIONS-1:0]                in_free,
    input  logic [POSITIONS-1:0]                in_locked,
    input  logic [POSITIONS-1:0]                in_sign,      // 1: +1
    input  logic [POSITIONS-1:0]                bits,         // stored bits to come, the first in the highest place
    input  logic [$clog2(2*POSITIONS+1)-1:0]    have,
    output logic [$clog2(POSITIONS+1)-1:0]      take,
    output logic                                out_valid,
    input  logic                                out_ready,
    output logic                                out_last,
    output logic [POSITIONS-1:0]                out_there,
    output logic [POSITIONS-1:0]                out_keep,
    output logic [POSITIONS-1:0]                out_sign
);
  localparam GROUPS = POSITIONS / GROUP;
  localparam R = $clog2(POSITIONS + 1);
  localparam G = $clog2(GROUP + 1);

  logic valid_1, valid_2, valid_3, last_1, last_2, last_3;
  logic [POSITIONS-1:0] there_1, there_2, there_3, free_1, free_2, free_3, locked_1, locked_2, locked_3;
  logic [POSITIONS-1:0] sign_1, sign_2, sign_3, bits_3, keep;
  logic [G*POSITIONS-1:0] place_in, place_in_1;  // of a free position among the free ones of its group
  logic [G*GROUPS-1:0] sum, sum_1;
  logic [R*POSITIONS-1:0] place, place_2, place_3;  // among all
  logic [R-1:0] total, total_2;

  always_comb begin
    for (int g = 0; g < GROUPS; g = g + 1) begin
      sum[G*g+:G] = 0;
      for (int p = 0; p < GROUP; p = p + 1) begin
        place_in[G*(GROUP*g+p)+:G] = sum[G*g+:G];
        sum[G*g+:G] = sum[G*g+:G] + in_free[GROUP*g+p];
      end
    end
  end
  always_comb begin
    total = 0;
    for (int g = 0; g < GROUPS; g = g + 1) begin
      for (int p = 0; p < GROUP; p = p + 1) place[R*(GROUP*g+p)+:R] = total + place_in_1[G*(GROUP*g+p)+:G];
      total = total + sum_1[G*g+:G];
    end
  end
  always_comb begin
    for (int p = 0; p < POSITIONS; p = p + 1)
      keep[p] = free_3[p] ? bits_3[POSITIONS-1-place_3[R*p+:R]] : locked_3[p];
  end

  assign moves = (out_ready || !out_valid) && (!valid_2 || have >= total_2);
  assign take = moves && valid_2 ? total_2 : {R{1'b0}};
  always_ff @(posedge clk) begin
    if (rst) {valid_1, valid_2, valid_3, out_valid} <= 4'b0;
    else if (moves) {valid_1, valid_2, valid_3, out_valid} <= {in_valid, valid_1, valid_2, valid_3};
    else if (out_ready) out_valid <= 1'b0;
    if (moves) begin
      {last_1, last_2, last_3, out_last} <= {in_last, last_1, last_2, last_3};
      {there_1, there_2, there_3, out_there} <= {in_there, there_1, there_2, there_3};
      {free_1, free_2, free_3} <= {in_free, free_1, free_2};
      {locked_1, locked_2, locked_3} <= {in_locked, locked_1, locked_2};
      {sign_1, sign_2, sign_3, out_sign} <= {in_sign, sign_1, sign_2, sign_3};
      place_in_1 <= place_in;
      sum_1 <= sum;
      place_2 <= place;
      place_3 <= place_2;
      total_2 <= total;
      bits_3 <= bits;
      out_keep <= keep;
    end
  end
endmodule
