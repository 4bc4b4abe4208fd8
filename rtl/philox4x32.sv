// Philox4x32-10 (Salmon et al. 2011): a block of four words a cycle, of any stream and any place.
//
// Row: weight_generator (accelsim/timing/stations.py); four lanes of one word a cycle share this unit.
// ROUNDS_PER_STAGE  1: ten stages (the fastest clock), 10: one.  Latency in cycles: 10 / ROUNDS_PER_STAGE.
//
// Key = (seed, 0), counter = (block, 0, 0): word i of a stream is element i mod 4 of block i div 4.
// The pipeline stands still while a block at its end is not taken.
module philox4x32 #(
    parameter ROUNDS_PER_STAGE = 1
) (
    input  logic         clk,
    input  logic         rst,
    input  logic         in_valid,
    output logic         in_ready,
    input  logic [31:0]  seed,
    input  logic [63:0]  block,
    output logic         out_valid,
    input  logic         out_ready,
    output logic [127:0] words
);
  localparam STAGES = 10 / ROUNDS_PER_STAGE;

  wire moves = out_ready || !out_valid;
  assign in_ready = moves;

  genvar s;
  generate
    for (s = 0; s < STAGES; s = s + 1) begin : stage
      logic valid;
      logic [127:0] counter, counter_in, rounds;  // registers, what comes in, and what a stage makes of it
      logic [63:0] key, key_in, keys, low, high;
      wire from_valid;
      if (s == 0) begin : first
        assign counter_in = {64'd0, block};
        assign key_in = {32'd0, seed};
        assign from_valid = in_valid;
      end else begin : next
        assign counter_in = stage[s-1].counter;
        assign key_in = stage[s-1].key;
        assign from_valid = stage[s-1].valid;
      end
      always_comb begin
        rounds = counter_in;
        keys = key_in;
        for (int r = 0; r < ROUNDS_PER_STAGE; r = r + 1) begin
          low = rounds[31:0] * 64'h00000000D2511F53;
          high = rounds[95:64] * 64'h00000000CD9E8D57;
          rounds = {low[31:0], low[63:32] ^ rounds[127:96] ^ keys[63:32], high[31:0], high[63:32] ^ rounds[63:32] ^ keys[31:0]};
          keys = {keys[63:32] + 32'hBB67AE85, keys[31:0] + 32'h9E3779B9};
        end
      end
      always_ff @(posedge clk) begin
        if (rst) valid <= 1'b0;
        else if (moves) valid <= from_valid;
        if (moves) begin
          counter <= rounds;
          key <= keys;
        end
      end
    end
  endgenerate
  assign out_valid = stage[STAGES-1].valid;
  assign words = stage[STAGES-1].counter;
endmodule
