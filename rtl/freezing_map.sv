// The fields of a freezing word against the two thresholds. Combinational.
//
// Row: weight_generator (accelsim/timing/stations.py); bits: accelsim/prng/regenerate.py.
// BITS  of a word      FIELD_BITS  threshold_bits of the ticket; floor(BITS / FIELD_BITS) weights a word, the rest is dropped
//
// u < prune: pruned; prune <= u < lock: locked; otherwise free. A threshold may be 2^FIELD_BITS: all below it.
module freezing_map #(
    parameter BITS = 32,
    parameter FIELD_BITS = 16,
    parameter FIELDS = BITS / FIELD_BITS
) (
    input  logic [BITS-1:0]     word,
    input  logic [FIELD_BITS:0] prune,
    input  logic [FIELD_BITS:0] lock,
    output logic [FIELDS-1:0]   locked,
    output logic [FIELDS-1:0]   free
);
  genvar f;
  generate
    for (f = 0; f < FIELDS; f = f + 1) begin : field
      wire [FIELD_BITS:0] u = {1'b0, word[FIELD_BITS*f+:FIELD_BITS]};
      assign free[f] = !(u < lock);
      assign locked[f] = u < lock && !(u < prune);
    end
  endgenerate
endmodule
