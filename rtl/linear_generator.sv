// A sequential generator with one state: words 1 to WORDS behind the state are at the output in every cycle.
//
// Row: weight_generator (accelsim/timing/stations.py): a word a lane and cycle, WORDS of them where the chip says so.
// KIND  weight_generator.kind: 0 xorshift32, 1 lfsr16, 2 lfsr32      WORDS  weight_generator.words_per_lane_per_cycle
//
// `take` words are used or thrown away in this cycle (0 holds); `load` sets the state, whose first word follows.
module linear_generator #(
    parameter KIND = 0,
    parameter WORDS = 1,
    parameter BITS = KIND == 1 ? 16 : 32
) (
    input  logic                       clk,
    input  logic                       load,
    input  logic [BITS-1:0]            seed,
    input  logic [$clog2(WORDS+1)-1:0] take,
    output logic [BITS*WORDS-1:0]      words,
    output logic [BITS-1:0]            state
);
  word_step #(.KIND(KIND), .WORDS(WORDS)) step (.state(state), .words(words));

  logic [BITS-1:0] behind;
  always_comb begin
    behind = state;
    for (int w = 0; w < WORDS; w = w + 1) if (take == w + 1) behind = words[BITS*w+:BITS];
  end
  always_ff @(posedge clk) begin
    if (load) state <= seed;
    else if (take != 0) state <= behind;
  end
endmodule
