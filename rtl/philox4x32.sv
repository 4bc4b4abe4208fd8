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

  genvar s, r;
  generate
    for (s = 0; s < STAGES; s = s + 1) begin : stage
      logic valid;
      logic [31:0] c0, c1, c2, c3, k0, k1;  // what goes into the stage's register: counter and the key of its last round
      wire [127:0] counter[0:ROUNDS_PER_STAGE];
      wire [63:0] key[0:ROUNDS_PER_STAGE];  // key[r]: of round r of this stage
      wire from_valid;
      if (s == 0) begin : first
        assign counter[0] = {64'd0, block};
        assign key[0] = {32'd0, seed};
        assign from_valid = in_valid;
      end else begin : next
        assign counter[0] = {stage[s-1].c3, stage[s-1].c2, stage[s-1].c1, stage[s-1].c0};
        assign key[0] = {stage[s-1].k1, stage[s-1].k0};
        assign from_valid = stage[s-1].valid;
      end
      for (r = 0; r < ROUNDS_PER_STAGE; r = r + 1) begin : round
        wire [63:0] low = counter[r][31:0] * 64'h00000000D2511F53;
        wire [63:0] high = counter[r][95:64] * 64'h00000000CD9E8D57;
        assign counter[r+1] = {
          low[31:0], low[63:32] ^ counter[r][127:96] ^ key[r][63:32],
          high[31:0], high[63:32] ^ counter[r][63:32] ^ key[r][31:0]
        };
        assign key[r+1] = {key[r][63:32] + 32'hBB67AE85, key[r][31:0] + 32'h9E3779B9};
      end
      always_ff @(posedge clk) begin
        if (rst) valid <= 1'b0;
        else if (moves) valid <= from_valid;
        if (moves) begin
          {c3, c2, c1, c0} <= counter[ROUNDS_PER_STAGE];
          {k1, k0} <= key[ROUNDS_PER_STAGE];
        end
      end
    end
  endgenerate
  assign out_valid = stage[STAGES-1].valid;
  assign words = {stage[STAGES-1].c3, stage[STAGES-1].c2, stage[STAGES-1].c1, stage[STAGES-1].c0};
endmodule
