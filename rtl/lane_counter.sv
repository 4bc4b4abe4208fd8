// Four lanes of a counter-based generator as one: a block of four words a cycle, of any place of a stream, from Philox.
//
// Row: weight_generator (accelsim/timing/stations.py), kind philox4x32.  ROUNDS_PER_STAGE  see philox4x32.sv
//
// Ports are those of lane.sv; `block` is made in this cycle (of the freezing map or the weights) and in use 10 / ROUNDS_PER_STAGE + 1
// cycles later, `arrives` and `arrives_freezing` say when. Keys that are loaded serve from this cycle on.
module lane_counter #(
    parameter FIELD_BITS = 16,
    parameter ROUNDS_PER_STAGE = 1,
    parameter FIELDS = 4 * (32 / FIELD_BITS)
) (
    input  logic                        clk,
    input  logic                        rst,
    input  logic                        moves,
    input  logic                        load,
    input  logic [31:0]                 seed_weights,
    input  logic [31:0]                 seed_freezing,
    input  logic [31:0]                 block,
    input  logic                        of_freezing,
    input  logic                        arrives,
    input  logic                        arrives_freezing,
    input  logic [7:0]                  sign_from,
    input  logic [$clog2(FIELDS+1)-1:0] field_from,
    input  logic                        freezes,
    input  logic [FIELD_BITS:0]         prune,
    input  logic [FIELD_BITS:0]         lock,
    output logic [127:0]                sign,
    output logic [FIELDS-1:0]           free,
    output logic [FIELDS-1:0]           locked
);
  logic [31:0] key_weights, key_freezing;
  logic [127:0] weights, freezing, words;
  wire [31:0] key_of_weights = load ? seed_weights : key_weights;
  wire [31:0] key_of_freezing = load ? seed_freezing : key_freezing;
  wire [FIELDS-1:0] free_now, locked_now;
  wire is_made, in_ready;

  philox4x32 #(.ROUNDS_PER_STAGE(ROUNDS_PER_STAGE)) generator (
      .clk(clk), .rst(rst), .in_valid(1'b1), .in_ready(in_ready), .seed(of_freezing ? key_of_freezing : key_of_weights),
      .block({32'd0, block}), .out_valid(is_made), .out_ready(moves), .words(words));
  genvar w;
  generate
    for (w = 0; w < 4; w = w + 1) begin : word
      freezing_map #(.BITS(32), .FIELD_BITS(FIELD_BITS)) map (
          .word(freezing[32*w+:32]), .prune(prune), .lock(lock),
          .locked(locked_now[FIELDS/4*w+:FIELDS/4]), .free(free_now[FIELDS/4*w+:FIELDS/4]));
    end
  endgenerate

  assign sign = weights >> sign_from;
  assign free = freezes ? free_now >> field_from : {FIELDS{1'b1}};
  assign locked = freezes ? locked_now >> field_from : {FIELDS{1'b0}};
  always_ff @(posedge clk) begin
    if (moves) begin
      {key_weights, key_freezing} <= {key_of_weights, key_of_freezing};
      if (arrives && !arrives_freezing) weights <= words;
      if (arrives && arrives_freezing) freezing <= words;
    end
  end
endmodule
