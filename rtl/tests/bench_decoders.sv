// Every decoder of masks behind a memory with its payload; what it decodes in blocks. Random gaps before and behind.
module bench_decoders #(
    parameter POSITIONS = 64
) (
    input logic        clk,
    input logic        rst,
    input logic        start,
    input logic [7:0]  gap_in,
    input logic [7:0]  gap_out,
    input logic [31:0] num_bits,
    input logic [31:0] payload_raw,
    input logic [31:0] payload_rle,
    input logic [31:0] payload_golomb,
    input logic [31:0] payload_entropy
);
  localparam R = $clog2(POSITIONS + 1);
  logic go;
  noise #(.SEED(9)) holds (.clk(clk), .rst(rst), .gap(gap_out), .go(go));
  wire feeds_not = rst || start;

  logic v_raw, r_raw, ov_raw, v_rle, r_rle, ov_rle, v_gol, r_gol, ov_gol, v_ent, r_ent, ov_ent, b_ent;
  logic [31:0] i_raw, i_rle, i_gol, i_ent;
  logic [POSITIONS-1:0] b_raw, b_rle, b_gol;
  logic [R-1:0] c_raw, c_rle, c_gol;

  feeder #(.SEED(11)) of_raw (.clk(clk), .rst(feeds_not), .gap(gap_in), .valid(v_raw), .ready(r_raw), .bits(i_raw));
  feeder #(.SEED(12)) of_rle (.clk(clk), .rst(feeds_not), .gap(gap_in), .valid(v_rle), .ready(r_rle), .bits(i_rle));
  feeder #(.SEED(13)) of_golomb (.clk(clk), .rst(feeds_not), .gap(gap_in), .valid(v_gol), .ready(r_gol), .bits(i_gol));
  feeder #(.SEED(14)) of_entropy (.clk(clk), .rst(feeds_not), .gap(gap_in), .valid(v_ent), .ready(r_ent), .bits(i_ent));

  mask_raw #(.POSITIONS(32), .IN(32)) d_raw (
      .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .in_valid(v_raw), .in_ready(r_raw), .in_bits(i_raw),
      .out_valid(ov_raw), .out_ready(go), .bits(b_raw[31:0]), .count(c_raw[5:0]));
  assign c_raw[R-1:6] = 0;
  assign b_raw[POSITIONS-1:32] = 0;
  mask_rle #(.POSITIONS(POSITIONS)) d_rle (
      .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_rle),
      .in_valid(v_rle), .in_ready(r_rle), .in_bits(i_rle),
      .out_valid(ov_rle), .out_ready(go), .bits(b_rle), .count(c_rle));
  mask_golomb #(.POSITIONS(POSITIONS)) d_golomb (
      .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_golomb),
      .in_valid(v_gol), .in_ready(r_gol), .in_bits(i_gol),
      .out_valid(ov_gol), .out_ready(go), .bits(b_gol), .count(c_gol));
  mask_entropy d_entropy (
      .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_entropy),
      .in_valid(v_ent), .in_ready(r_ent), .in_bits(i_ent), .out_valid(ov_ent), .out_ready(go), .bits(b_ent));

  collector #(.MOST(POSITIONS)) raw (
      .clk(clk), .rst(feeds_not), .wanted(num_bits), .valid(ov_raw && go), .bits(b_raw), .count(c_raw));
  collector #(.MOST(POSITIONS)) rle (
      .clk(clk), .rst(feeds_not), .wanted(num_bits), .valid(ov_rle && go), .bits(b_rle), .count(c_rle));
  collector #(.MOST(POSITIONS)) golomb (
      .clk(clk), .rst(feeds_not), .wanted(num_bits), .valid(ov_gol && go), .bits(b_gol), .count(c_gol));
  collector #(.MOST(POSITIONS)) entropy (
      .clk(clk), .rst(feeds_not), .wanted(num_bits), .valid(ov_ent && go), .bits({{(POSITIONS-1){1'b0}}, b_ent}), .count(7'd1));

  // The cycle, counted from `start`, behind the last bit of each.
  logic [31:0] cycle, end_raw, end_rle, end_golomb, end_entropy;
  always @(posedge clk) begin
    cycle <= start ? 0 : cycle + 1;
    if (ov_raw && go) end_raw <= cycle + 1;
    if (ov_rle && go) end_rle <= cycle + 1;
    if (ov_gol && go) end_golomb <= cycle + 1;
    if (ov_ent && go) end_entropy <= cycle + 1;
  end
endmodule
