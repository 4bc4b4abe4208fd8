// All generators side by side; the words of each in blocks. Random gaps hold them.
module bench_generators (
    input logic        clk,
    input logic        rst,
    input logic        load,
    input logic [31:0] seed,
    input logic [7:0]  gap
);
  logic go;
  noise #(.SEED(7)) holds (.clk(clk), .rst(rst), .gap(gap), .go(go));

  logic [31:0] word_x, word_32, state_x, state_32;
  logic [127:0] words_4, words_p, words_q;
  logic [31:0] state_4;
  logic [15:0] word_16, state_16;
  xorshift32 one (.clk(clk), .load(load), .seed(seed), .take(go), .words(word_x), .state(state_x));
  xorshift32 #(.WORDS(4)) four (
      .clk(clk), .load(load), .seed(seed), .take(go ? 3'd4 : 3'd0), .words(words_4), .state(state_4));
  lfsr16 short (.clk(clk), .load(load), .seed(seed[15:0]), .take(go), .words(word_16), .state(state_16));
  lfsr32 long (.clk(clk), .load(load), .seed(seed), .take(go), .words(word_32), .state(state_32));
  collector #(.MOST(32)) xorshift32 (.clk(clk), .rst(load), .wanted(32'd0), .valid(go), .bits(word_x), .count(6'd32));
  collector #(.MOST(128)) xorshift32_4 (.clk(clk), .rst(load), .wanted(32'd0), .valid(go), .bits(words_4), .count(8'd128));
  collector #(.MOST(16)) lfsr16 (.clk(clk), .rst(load), .wanted(32'd0), .valid(go), .bits(word_16), .count(5'd16));
  collector #(.MOST(32)) lfsr32 (.clk(clk), .rst(load), .wanted(32'd0), .valid(go), .bits(word_32), .count(6'd32));

  // Philox: ten stages, and two; blocks of four words under one key, counted on as they are taken in.
  logic [63:0] block_p, block_q;
  logic [31:0] key;
  logic ready_p, ready_q, valid_p, valid_q;
  philox4x32 deep (
      .clk(clk), .rst(load), .in_valid(1'b1), .in_ready(ready_p), .seed(key), .block(block_p),
      .out_valid(valid_p), .out_ready(go), .words(words_p));
  philox4x32 #(.ROUNDS_PER_STAGE(5)) flat (
      .clk(clk), .rst(load), .in_valid(1'b1), .in_ready(ready_q), .seed(key), .block(block_q),
      .out_valid(valid_q), .out_ready(go), .words(words_q));
  always_ff @(posedge clk) begin
    if (load) begin
      key <= seed;
      block_p <= 64'h00000000_FFFFFFF0;  // so that the count passes 32 bits
      block_q <= 0;
    end else begin
      if (ready_p) block_p <= block_p + 1;
      if (ready_q) block_q <= block_q + 1;
    end
  end
  collector #(.MOST(128)) philox4x32 (.clk(clk), .rst(load), .wanted(32'd0), .valid(valid_p && go), .bits(words_p), .count(8'd128));
  collector #(.MOST(128)) philox4x32_5 (.clk(clk), .rst(load), .wanted(32'd0), .valid(valid_q && go), .bits(words_q), .count(8'd128));
endmodule
