// A lane of the weight generator: the two states of one stream (weights, freezing map) share the network that steps them.
//
// Row: weight_generator (accelsim/timing/stations.py): one word a lane and cycle, of one of the two.
// KIND  weight_generator.kind: 0 xorshift32, 1 lfsr16, 2 lfsr32      FIELD_BITS  threshold_bits of the ticket
//
// Weights are signed constants: a word holds BITS of them. The states are the words in use; `sign_from` tells which signs leave.
// weight_generator.latency_cycles = 2: the state, and the output register behind the thresholds.
module lane #(
    parameter KIND = 0,
    parameter FIELD_BITS = 16,
    parameter BITS = KIND == 1 ? 16 : 32,
    parameter FIELDS = BITS / FIELD_BITS
) (
    input  logic                    clk,
    input  logic                    moves,        // the pipeline behind is not held up
    input  logic                    load,
    input  logic [BITS-1:0]         seed_weights,
    input  logic [BITS-1:0]         seed_freezing,
    input  logic                    step,
    input  logic                    step_freezing,  // else the weights'
    input  logic [$clog2(BITS)-1:0] sign_from,      // weight whose sign is the first that leaves
    input  logic                    freezes,
    input  logic [FIELD_BITS:0]     prune,
    input  logic [FIELD_BITS:0]     lock,
    output logic [FIELDS-1:0]       sign,
    output logic [FIELDS-1:0]       free,
    output logic [FIELDS-1:0]       locked
);
  logic [BITS-1:0] weights, freezing, stepped;
  logic [FIELDS-1:0] free_now, locked_now;

  word_step #(.KIND(KIND), .WORDS(1)) network (.state(step_freezing ? freezing : weights), .words(stepped));
  freezing_map #(.BITS(BITS), .FIELD_BITS(FIELD_BITS)) map (
      .word(freezing), .prune(prune), .lock(lock), .locked(locked_now), .free(free_now));

  always_ff @(posedge clk) begin
    if (moves) begin
      if (load) weights <= seed_weights;
      else if (step && !step_freezing) weights <= stepped;
      if (load) freezing <= seed_freezing;
      else if (step && step_freezing) freezing <= stepped;
      sign <= weights >> sign_from;
      free <= freezes ? free_now : {FIELDS{1'b1}};
      locked <= freezes ? locked_now : {FIELDS{1'b0}};
    end
  end
endmodule
