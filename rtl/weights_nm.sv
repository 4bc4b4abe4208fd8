// Decoder of N:M structured weights: N values of a group of M go to their positions.
//
// Row: mask_decoder (accelsim/timing/stations.py), positions_per_cycle = GROUPS x M; bits: accelsim/storage/nm.py.
// N, M  of the pattern      GROUPS  decoded in a cycle      VALUE_BITS  of a value
//
// Values and positions are two streams, GROUPS x N of each a cycle; the first weight is in the lowest place.
// Combinational but for the streams' own valid and ready.
module weights_nm #(
    parameter N = 2,
    parameter M = 4,
    parameter GROUPS = 4,
    parameter VALUE_BITS = 8,
    parameter P_BITS = $clog2(M)
) (
    input  logic                             values_valid,
    output logic                             values_ready,
    input  logic [GROUPS*N*VALUE_BITS-1:0]   values,      // the first in the highest place, as they are packed
    input  logic                             places_valid,
    output logic                             places_ready,
    input  logic [GROUPS*N*P_BITS-1:0]       places,
    output logic                             out_valid,
    input  logic                             out_ready,
    output logic [GROUPS*M*VALUE_BITS-1:0]   weights
);
  localparam SLOTS = GROUPS * N;

  assign out_valid = values_valid && places_valid;
  assign values_ready = out_valid && out_ready;
  assign places_ready = out_valid && out_ready;
  always_comb begin
    weights = 0;
    for (int g = 0; g < GROUPS; g = g + 1)
      for (int n = 0; n < N; n = n + 1)
        weights[VALUE_BITS*(M*g+places[P_BITS*(SLOTS-1-N*g-n)+:P_BITS])+:VALUE_BITS] =
            values[VALUE_BITS*(SLOTS-1-N*g-n)+:VALUE_BITS];
  end
endmodule
