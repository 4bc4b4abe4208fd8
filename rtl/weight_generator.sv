// The weight generator: lanes in lockstep, one stream (filter) a lane, in rounds.
//
// Row: weight_generator (accelsim/timing/stations.py): cycles = words used and thrown away, a cycle to load seeds (seed_cycles = 1),
// and where weights are more than a cycle hands on, the cycles that they take (accelsim/mapping/generation.py).
// LANES  weight_generator.num_lanes      KIND  weight_generator.kind      FIELD_BITS  threshold_bits of the ticket
// WORDS  words_per_lane_per_cycle        POSITIONS  mask_decoder.positions_per_cycle, a power of two from LANES on
// HASHES  seeds derived in a cycle, ahead of the round that loads them
// COUNTS  1: philox4x32 in place of KIND. A lane of four WORDS stands for four lanes of one. Blocks of four words are made whole, none
// is thrown away, and keys take no cycle (seed_cycles = 0). ROUNDS_PER_STAGE: see philox4x32.sv; its stages add to latency_cycles.
//
// A command is a round: `load` the seeds that a tile begins with (weights', freezing map's; else lanes go on), then weights `offset` to
// `offset + count - 1` of each stream. The first round of a tile waits for its stored bits and for a place in the weight buffer:
// both are counts of tiles, as in the table of stations. A chunk leaves a cycle: neighbouring weights of each lane, the first lane in
// the lowest places. The lanes in use share the places by powers of two, but hand on no more than lies in the words of a cycle.
// `begins`: a tile begins in this cycle.
module weight_generator #(
    parameter LANES = 32,
    parameter KIND = 0,
    parameter FIELD_BITS = 16,
    parameter WORDS = 1,
    parameter HASHES = 2 * LANES,
    parameter COUNTS = 0,
    parameter ROUNDS_PER_STAGE = 1,
    parameter BITS = KIND == 1 ? 16 : 32,
    parameter FIELDS = WORDS * (BITS / FIELD_BITS),
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
    input  logic [1:0]                 load,           // of weights, of the freezing map (the higher bit)
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
  localparam PER_FREEZING = $clog2(BITS / FIELD_BITS);
  localparam NARROWEST = $clog2(POSITIONS / LANES);  // weights that a lane hands on: where all lanes are in use,
  localparam WIDEST = PER_WORD + $clog2(WORDS) < $clog2(POSITIONS) ? PER_WORD + $clog2(WORDS) : $clog2(POSITIONS);  // and at the most
  localparam SEEDS = 2 * LANES;
  localparam S = $clog2(SEEDS + 1);
  localparam T = $clog2(WORDS + 1);
  localparam L = $clog2(LANES + 1);
  localparam DELAY = COUNTS != 0 ? 10 / ROUNDS_PER_STAGE : 0;

  // The round: which words are made in this cycle, and whether the weights at `at` can leave behind them.
  logic active, is_last, has_seeds;
  logic [31:0] position, stop, num_weight_words, num_freezing_words, num_tiles;
  logic [L-1:0] lanes;
  logic [3:0] width, own_width;  // powers of two
  wire is_free = num_fetched > num_tiles && num_places > num_tiles;
  wire starts = !active && round_valid && (!first || is_free) && (load == 0 || has_seeds);
  wire loads = starts && load != 0;
  wire works = active || (starts && (COUNTS != 0 || load == 0));
  wire [31:0] at = active ? position : offset;
  wire [31:0] until_ = active ? stop : offset + count;
  wire [L-1:0] in_use = active ? lanes : num_lanes;
  // Words that the lanes have made: a counter-based generator begins each round at the block of its first weight.
  wire [31:0] has_weights = COUNTS != 0 && starts ? (offset >> PER_WORD) & ~32'd3 : num_weight_words;
  wire [31:0] has_freezing = COUNTS != 0 && starts ? (offset >> PER_FREEZING) & ~32'd3 : num_freezing_words;
  always_comb begin
    own_width = NARROWEST;
    for (int w = NARROWEST; w <= WIDEST; w = w + 1) if (in_use <= POSITIONS >> w) own_width = w;
    width = freezes && own_width > $clog2(FIELDS) ? $clog2(FIELDS) : own_width;
  end
  wire [31:0] chunk = (at >> width) << width;
  wire [31:0] next = chunk + (32'd1 << width);
  wire [31:0] reach = (next < until_ ? next : until_) - 1;  // the last weight that leaves
  wire [31:0] lacking_weights = (reach >> PER_WORD) + 1 - has_weights;  // 0 or below: none
  wire [31:0] lacking_freezing = (reach >> PER_FREEZING) + 1 - has_freezing;
  wire lacks_weights = works && $signed(lacking_weights) > 0;
  wire lacks_freezing = works && freezes && $signed(lacking_freezing) > 0;
  // Words of the weights are made ahead where those of the freezing map decide about the pace.
  wire [31:0] ahead = freezes ? ((until_ - 1) >> PER_WORD) + 1 - has_weights : lacking_weights;
  wire [31:0] wanted = lacks_weights ? ahead : lacks_freezing ? lacking_freezing : 32'd0;
  wire [T-1:0] take = wanted > WORDS || (COUNTS != 0 && wanted != 0) ? WORDS : wanted[T-1:0];
  wire covers = works && (!lacks_weights || lacking_weights <= WORDS) && (!lacks_freezing || (!lacks_weights && lacking_freezing <= WORDS));
  wire ends = covers && next >= until_;
  wire [31:0] made_weights = has_weights + (lacks_weights ? take : 0);
  wire [31:0] made_freezing = has_freezing + (lacks_weights ? 0 : take);

  assign begins = moves && starts && first;
  assign round_ready = moves && starts;
  always_ff @(posedge clk) begin
    if (rst) begin
      active <= 1'b0;
      num_tiles <= 0;
    end else if (moves) begin
      active <= (loads && COUNTS == 0) || (works && !ends);
      if (starts && first) num_tiles <= num_tiles + 1;
    end
    if (moves) begin
      position <= covers ? next : at;
      stop <= until_;
      num_weight_words <= COUNTS == 0 && loads && load[0] ? 0 : made_weights;
      num_freezing_words <= COUNTS == 0 && loads && load[1] ? 0 : made_freezing;
      lanes <= in_use;
      if (starts) is_last <= last;
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

  // What leaves behind the words of this cycle, as late as these come out of the lanes' pipelines.
  localparam Z = 3 + T + 4 + L + 3 * 32 + $clog2(BITS * WORDS + 1) + $clog2(FIELDS + 1);
  wire [$clog2(BITS*WORDS+1)-1:0] sign_at = chunk + BITS * WORDS - (made_weights << PER_WORD);
  wire [$clog2(FIELDS+1)-1:0] field_at = chunk + FIELDS - (made_freezing << PER_FREEZING);
  wire [Z-1:0] now = {
    covers, ends && (starts ? last : is_last), !lacks_weights, take, width, in_use, chunk, at, until_, sign_at, field_at
  };
  logic [Z*(DELAY+1)-1:0] line;
  wire [Z*(DELAY+2)-1:0] moved = {line, now};
  wire late_covers, late_last, late_freezing;
  wire [T-1:0] late_take;
  wire [3:0] late_width;
  wire [L-1:0] late_lanes;
  wire [31:0] late_chunk, late_at, late_until;
  wire [$clog2(BITS*WORDS+1)-1:0] late_sign;
  wire [$clog2(FIELDS+1)-1:0] late_field;
  assign {late_covers, late_last, late_freezing, late_take, late_width, late_lanes, late_chunk, late_at, late_until, late_sign,
      late_field} = moved[Z*DELAY+:Z];
  always_ff @(posedge clk) begin
    if (rst) line <= 0;
    else if (moves) line <= moved[Z*(DELAY+1)-1:0];
  end

  // The chunk that leaves the lanes' states in the next cycle, and its registers in the one behind it.
  logic leaves, leaves_last;
  logic [$clog2(BITS*WORDS+1)-1:0] sign_from;
  logic [$clog2(FIELDS+1)-1:0] field_from;
  logic [31:0] leaves_chunk, leaves_at, leaves_until;
  logic [3:0] leaves_width;
  logic [L-1:0] leaves_lanes;
  wire [LANES*BITS*WORDS-1:0] lane_sign;
  wire [LANES*FIELDS-1:0] lane_free, lane_locked;
  genvar l;
  generate
    for (l = 0; l < LANES; l = l + 1) begin : lane_of
      if (COUNTS != 0) begin : counting
        lane_counter #(.FIELD_BITS(FIELD_BITS), .ROUNDS_PER_STAGE(ROUNDS_PER_STAGE)) one (
            .clk(clk), .rst(rst), .moves(moves), .load(loads), .seed_weights(seeds[BITS*2*l+:BITS]),
            .seed_freezing(seeds[BITS*(2*l+1)+:BITS]), .block(lacks_weights ? has_weights >> 2 : has_freezing >> 2),
            .of_freezing(!lacks_weights), .arrives(late_take != 0), .arrives_freezing(late_freezing),
            .sign_from(sign_from), .field_from(field_from), .freezes(freezes), .prune(prune), .lock(lock),
            .sign(lane_sign[BITS*WORDS*l+:BITS*WORDS]), .free(lane_free[FIELDS*l+:FIELDS]), .locked(lane_locked[FIELDS*l+:FIELDS]));
      end else begin : stepping
        lane #(.KIND(KIND), .FIELD_BITS(FIELD_BITS), .WORDS(WORDS)) one (
            .clk(clk), .moves(moves), .load_weights(loads && load[0]), .load_freezing(loads && load[1]),
            .seed_weights(seeds[BITS*2*l+:BITS]), .seed_freezing(seeds[BITS*(2*l+1)+:BITS]),
            .take(take), .of_freezing(!lacks_weights), .sign_from(sign_from), .field_from(field_from),
            .freezes(freezes), .prune(prune), .lock(lock), .sign(lane_sign[BITS*WORDS*l+:BITS*WORDS]),
            .free(lane_free[FIELDS*l+:FIELDS]), .locked(lane_locked[FIELDS*l+:FIELDS]));
      end
    end
  endgenerate

  logic [POSITIONS-1:0] there_now, free_now, locked_now, sign_now;
  always_comb begin
    {there_now, free_now, locked_now, sign_now} = 0;
    for (int w = NARROWEST; w <= WIDEST; w = w + 1) begin
      if (w == leaves_width) begin
        for (int p = 0; p < POSITIONS; p = p + 1) begin  // p mod 2^w of lane p / 2^w
          there_now[p] = (p >> w) < leaves_lanes && leaves_chunk + p % (1 << w) >= leaves_at
              && leaves_chunk + p % (1 << w) < leaves_until;
          sign_now[p] = lane_sign[BITS*WORDS*(p>>w)+p%(1<<w)];
          free_now[p] = freezes ? p % (1 << w) < FIELDS && lane_free[FIELDS*(p>>w)+p%(1<<w)%FIELDS] : 1'b1;
          locked_now[p] = freezes && p % (1 << w) < FIELDS && lane_locked[FIELDS*(p>>w)+p%(1<<w)%FIELDS];
        end
      end
    end
  end
  always_ff @(posedge clk) begin
    if (rst) {leaves, out_valid} <= 2'b0;
    else if (moves) {leaves, out_valid} <= {late_covers, leaves};
    if (moves) begin
      {sign_from, field_from, leaves_last} <= {late_sign, late_field, late_last};
      {leaves_chunk, leaves_at, leaves_until, leaves_width, leaves_lanes} <= {late_chunk, late_at, late_until, late_width, late_lanes};
      out_last <= leaves_last;
      {there, free, locked, sign} <= {there_now, free_now, locked_now, sign_now};
    end
  end
endmodule
