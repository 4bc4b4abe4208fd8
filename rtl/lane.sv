// A lane of the weight generator: the two states of one stream (weights, freezing map) share the network that steps them.
//
// Row: weight_generator (accelsim/timing/stations.py): up to WORDS words a lane and cycle, of one of the two.
// KIND  weight_generator.kind: 0 xorshift32, 1 lfsr16, 2 lfsr32      FIELD_BITS  threshold_bits of the ticket
// WORDS  weight_generator.words_per_lane_per_cycle
//
// Weights are signed constants: a word holds BITS of them. A state is the WORDS last words, the newest in the highest places.
// `sign_from` and `field_from` tell which of their bits and fields leave first.
module lane #(
    parameter KIND = 0,
    parameter FIELD_BITS = 16,
    parameter WORDS = 1,
    parameter BITS = KIND == 1 ? 16 : 32,
    parameter FIELDS = WORDS * (BITS / FIELD_BITS)
) (
    input  logic                            clk,
    input  logic                            moves,          // the pipeline behind is not held up
    input  logic                            load_weights,
    input  logic                            load_freezing,
    input  logic [BITS-1:0]                 seed_weights,
    input  logic [BITS-1:0]                 seed_freezing,
    input  logic [$clog2(WORDS+1)-1:0]      take,           // words made in this cycle
    input  logic                            of_freezing,    // else the weights'
    input  logic [$clog2(BITS*WORDS+1)-1:0] sign_from,
    input  logic [$clog2(FIELDS+1)-1:0]     field_from,
    input  logic                            freezes,
    input  logic [FIELD_BITS:0]             prune,
    input  logic [FIELD_BITS:0]             lock,
    output logic [BITS*WORDS-1:0]           sign,
    output logic [FIELDS-1:0]               free,
    output logic [FIELDS-1:0]               locked
);
  logic [BITS*WORDS-1:0] weights, freezing, stepped;
  wire [BITS*WORDS-1:0] chosen = of_freezing ? freezing : weights;
  wire [2*BITS*WORDS-1:0] made = {stepped, chosen} >> (BITS * take);
  wire [FIELDS-1:0] free_now, locked_now;

  word_step #(.KIND(KIND), .WORDS(WORDS)) network (.state(chosen[BITS*WORDS-1-:BITS]), .words(stepped));
  genvar w;
  generate
    for (w = 0; w < WORDS; w = w + 1) begin : word
      freezing_map #(.BITS(BITS), .FIELD_BITS(FIELD_BITS)) map (
          .word(freezing[BITS*w+:BITS]), .prune(prune), .lock(lock),
          .locked(locked_now[FIELDS/WORDS*w+:FIELDS/WORDS]), .free(free_now[FIELDS/WORDS*w+:FIELDS/WORDS]));
    end
  endgenerate

  assign sign = weights >> sign_from;
  assign free = freezes ? free_now >> field_from : {FIELDS{1'b1}};
  assign locked = freezes ? locked_now >> field_from : {FIELDS{1'b0}};
  always_ff @(posedge clk) begin
    if (moves) begin
      if (load_weights) weights[BITS*WORDS-1-:BITS] <= seed_weights;
      else if (!of_freezing) weights <= made[BITS*WORDS-1:0];
      if (load_freezing) freezing[BITS*WORDS-1-:BITS] <= seed_freezing;
      else if (of_freezing) freezing <= made[BITS*WORDS-1:0];
    end
  end
endmodule
