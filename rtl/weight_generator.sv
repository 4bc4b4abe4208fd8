// The weight generator: lanes in lockstep, one stream (filter) a lane, in rounds.
//
// Row: weight_generator (accelsim/timing/stations.py): cycles = words used and thrown away, and a cycle to load seeds (seed_cycles = 1).
// LANES  weight_generator.num_lanes      KIND  weight_generator.kind      FIELD_BITS  threshold_bits of the ticket
// HASHES  seeds derived in a cycle, ahead of the round that loads them
//
// A command is a round: `load` the seeds of streams that a tile begins with (else the lanes go on), then weights `offset` to
// `offset + count - 1` of each stream. The first round of a tile waits for its stored bits and for a place in the weight buffer:
// both are counts of tiles, as in the table of stations. A chunk leaves a cycle: FIELDS neighbouring weights of each lane, the first
// lane in the lowest places. `begins`: a tile begins in this cycle.
module weight_generator #(
    parameter LANES = 32,
    parameter KIND = 0,
    parameter FIELD_BITS = 16,
    parameter HASHES = 2 * LANES,
    parameter BITS = KIND == 1 ? 16 : 32,
    parameter FIELDS = BITS / FIELD_BITS,
    parameter POSITIONS = LANES * FIELDS
) (
    input  logic                       clk,
    input  logic                       rst,
    input  logic                       moves,
    input  logic                       freezes,
    input  logic [FIELD_BITS:0]        prune,
    input  logic [FIELD_BITS:0]        lock,
    input  logic [31:0]                base,           // of the layer's seed, see seed_hash.sv
    input  logic                       stream_valid,   // the first stream of a round that loads
    output logic                       stream_ready,
    input  logic [31:0]                stream,
    input  logic                       round_valid,
    output logic                       round_ready,
    input  logic                       first,          // of a tile
    input  logic                       last,
    input  logic                       load,
    input  logic [31:0]                offset,
    input  logic [31:0]                count,
    input  logic [$clog2(LANES+1)-1:0] num_lanes,
    input  logic [31:0]                num_fetched,
    input  logic [31:0]                num_places,
    output logic                       begins,
    output logic                       out_valid,
    output logic                       out_last,
    output logic [POSITIONS-1:0]       there,
    output logic [POSITIONS-1:0]       free,
    output logic [POSITIONS-1:0]       locked,
    output logic [POSITIONS-1:0]       sign
);
  localparam PER_WORD = $clog2(BITS);  // weights of a word, as a power of two
  localparam PER_CHUNK = $clog2(FIELDS);
  localparam SEEDS = 2 * LANES;
  localparam S = $clog2(SEEDS + 1);

  // The round: which word is made in this cycle, and whether the weights at `at` can leave behind it.
  logic active, is_last, has_seeds;
  logic [31:0] position, stop, num_weight_words, num_freezing_words, num_tiles;
  logic [$clog2(LANES+1)-1:0] lanes;
  wire is_free = num_fetched > num_tiles && num_places > num_tiles;
  wire starts = !active && round_valid && (!first || is_free) && (!load || has_seeds);
  wire loads = starts && load;
  wire works = active || (starts && !load);
  wire [31:0] at = active ? position : offset;
  wire [31:0] until_ = active ? stop : offset + count;
  wire lacks_weights = at >> PER_WORD >= num_weight_words;
  wire lacks_freezing = freezes && at >> PER_CHUNK >= num_freezing_words;
  wire steps = works && (lacks_weights || lacks_freezing);
  wire covers = works && (!lacks_weights || at >> PER_WORD == num_weight_words)
      && (!lacks_freezing || (!lacks_weights && at >> PER_CHUNK == num_freezing_words));
  wire [31:0] next = ((at >> PER_CHUNK) + 1) << PER_CHUNK;
  wire ends = covers && next >= until_;

  assign begins = moves && starts && first;
  assign round_ready = moves && starts;
  always_ff @(posedge clk) begin
    if (rst) begin
      active <= 1'b0;
      num_tiles <= 0;
    end else if (moves) begin
      active <= loads || (works && !ends);
      if (starts && first) num_tiles <= num_tiles + 1;
    end
    if (moves) begin
      position <= covers ? next : at;
      stop <= until_;
      if (loads) {num_weight_words, num_freezing_words} <= 0;
      else if (steps && lacks_weights) num_weight_words <= num_weight_words + 1;
      else if (steps) num_freezing_words <= num_freezing_words + 1;
      if (starts) begin
        lanes <= num_lanes;
        is_last <= last;
      end
    end
  end

  // Seeds of the next round that loads: lane by lane, weights and freezing map.
  logic [SEEDS*BITS-1:0] seeds;
  logic [S-1:0] num_seeds;
  wire [HASHES*BITS-1:0] hashed;
  assign has_seeds = num_seeds == SEEDS;
  genvar h;
  generate
    for (h = 0; h < HASHES; h = h + 1) begin : derive
      seed_hash #(.BITS(BITS)) hash (
          .base(base), .position({stream[30:0], 1'b0} + num_seeds + h), .seed(hashed[BITS*h+:BITS]));
    end
  endgenerate
  assign stream_ready = stream_valid && num_seeds == SEEDS - HASHES;
  always_ff @(posedge clk) begin
    if (rst || (moves && loads)) num_seeds <= 0;
    else if (stream_valid && !has_seeds) begin
      seeds[BITS*num_seeds+:BITS*HASHES] <= hashed;
      num_seeds <= num_seeds + HASHES;
    end
  end

  // The chunk that leaves the lanes' states in the next cycle, and their output registers in the one behind it.
  logic leaves, leaves_last;
  logic [PER_WORD-1:0] sign_from;
  logic [FIELDS-1:0] fields;
  logic [$clog2(LANES+1)-1:0] leaves_lanes;
  wire [31:0] chunk = (at >> PER_CHUNK) << PER_CHUNK;
  genvar l;
  generate
    for (l = 0; l < LANES; l = l + 1) begin : lane_of
      lane #(.KIND(KIND), .FIELD_BITS(FIELD_BITS)) one (
          .clk(clk), .moves(moves), .load(loads),
          .seed_weights(seeds[BITS*2*l+:BITS]), .seed_freezing(seeds[BITS*(2*l+1)+:BITS]),
          .step(steps), .step_freezing(!lacks_weights), .sign_from(sign_from), .freezes(freezes), .prune(prune), .lock(lock),
          .sign(sign[FIELDS*l+:FIELDS]), .free(free[FIELDS*l+:FIELDS]), .locked(locked[FIELDS*l+:FIELDS]));
      always_ff @(posedge clk) begin
        if (moves) there[FIELDS*l+:FIELDS] <= l < leaves_lanes ? fields : {FIELDS{1'b0}};
      end
    end
  endgenerate
  always_ff @(posedge clk) begin
    if (rst) {leaves, out_valid} <= 2'b0;
    else if (moves) {leaves, out_valid} <= {covers, leaves};
    if (moves) begin
      sign_from <= chunk[PER_WORD-1:0];
      for (int f = 0; f < FIELDS; f = f + 1) fields[f] <= chunk + f >= at && chunk + f < until_;
      leaves_lanes <= starts ? num_lanes : lanes;
      leaves_last <= ends && (starts ? last : is_last);
      out_last <= leaves_last;
    end
  end
endmodule
