// A complete weight path behind a memory with a layer's stored bits; the weight buffer's port is not always ready.
module bench_path #(
    parameter LANES = 32,
    parameter KIND = 0,
    parameter CODEC = 0,
    parameter HASHES = 2 * LANES,
    parameter WORDS = 1,
    parameter COUNTS = 0,
    parameter POSITIONS = LANES * WORDS * (KIND == 1 ? 1 : 2),
    parameter WIDTH = CODEC == 0 ? POSITIONS : 32
) (
    input  logic                       clk,
    input  logic                       rst,
    input  logic                       start,
    input  logic [7:0]                 gap,
    input  logic [31:0]                num_words,      // that have come from DRAM
    input  logic [31:0]                num_bits,
    input  logic [31:0]                payload_bits,
    input  logic                       freezes,
    input  logic [16:0]                prune,
    input  logic [16:0]                lock,
    input  logic [31:0]                base,
    input  logic                       stream_valid,
    output logic                       stream_ready,
    input  logic [31:0]                stream,
    input  logic                       round_valid,
    output logic                       round_ready,
    input  logic                       first,
    input  logic                       last,
    input  logic [1:0]                 load,
    input  logic [31:0]                offset,
    input  logic [31:0]                count,
    input  logic [$clog2(LANES+1)-1:0] num_lanes,
    input  logic [31:0]                num_fetched,
    input  logic [31:0]                num_places,
    output logic [3*POSITIONS+6:0]     seen            // what the test reads in each cycle
);
  logic go, moves, begins, out_valid, out_last, mask_valid, mask_ready;
  logic [POSITIONS-1:0] there, keep, sign;
  logic [31:0] next;
  logic [WIDTH-1:0] memory[0:131071];
  noise #(.SEED(5)) holds (.clk(clk), .rst(rst), .gap(gap), .go(go));
  assign mask_valid = next < num_words && !start;
  always_ff @(posedge clk) begin
    if (rst || start) next <= 0;
    else if (mask_valid && mask_ready) next <= next + 1;
  end
  weight_path #(.LANES(LANES), .KIND(KIND), .CODEC(CODEC), .HASHES(HASHES), .WORDS(WORDS), .COUNTS(COUNTS), .POSITIONS(POSITIONS)) path (
      .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_bits),
      .freezes(freezes), .prune(prune), .lock(lock), .base(base),
      .mask_valid(mask_valid), .mask_ready(mask_ready), .mask_bits(memory[next]),
      .stream_valid(stream_valid), .stream_ready(stream_ready), .stream(stream),
      .round_valid(round_valid), .round_ready(round_ready), .first(first), .last(last), .load(load),
      .offset(offset), .count(count), .num_lanes(num_lanes), .num_fetched(num_fetched), .num_places(num_places),
      .moves(moves), .begins(begins), .out_valid(out_valid), .out_ready(go), .out_last(out_last),
      .there(there), .keep(keep), .sign(sign));
  wire held = out_valid && !go;
  wire leaves = out_valid && go;
  assign seen = {
    {3 * POSITIONS{leaves}} & {sign, keep, there},
    mask_ready, stream_ready, round_ready, held, begins, leaves, leaves && out_last
  };
endmodule
