// Decoder of Golomb-Rice masks: one code word a cycle, one more for each 16 ones of its unary part.
//
// Row: mask_decoder (accelsim/timing/stations.py), symbols_per_cycle = 1 of each of the interleaved streams;
// bits: accelsim/ticket/codecs.py, golomb.
// POSITIONS  mask_decoder.positions_per_cycle
//
// The first byte of the payload: 128 where runs of ones are counted, and the divisor's exponent k (0 to 15). A code word: ones, a
// zero, k bits of remainder.
module mask_golomb #(
    parameter POSITIONS = 64
) (
    input  logic                           clk,
    input  logic                           rst,
    input  logic                           start,
    input  logic [31:0]                    num_bits,
    input  logic [31:0]                    payload_bits,
    input  logic                           in_valid,
    output logic                           in_ready,
    input  logic [31:0]                    in_bits,
    output logic                           out_valid,
    input  logic                           out_ready,
    output logic [POSITIONS-1:0]           bits,
    output logic [$clog2(POSITIONS+1)-1:0] count
);
  logic [31:0] show, payload_left;
  logic [6:0] have;
  logic [3:0] k;
  logic has_header, inverted, run_ready;
  logic [4:0] ones;  // at the front, up to 16
  always_comb begin
    ones = 16;
    for (int i = 15; i >= 0; i = i - 1) if (!show[31-i]) ones = i;
  end
  wire goes_on = ones == 16;
  wire [5:0] size = goes_on ? 6'd16 : ones + 6'd1 + k;
  wire header_here = payload_left != 0 && !has_header && have >= 8;
  wire run_valid = payload_left != 0 && has_header && have >= size;
  wire [31:0] behind = show << (ones + 6'd1);
  wire [15:0] remainder = behind[31:16] >> (5'd16 - k);
  wire [31:0] length = ({27'd0, ones} << k) + (goes_on ? 32'd0 : {16'd0, remainder} + 32'd1);
  wire [5:0] take = header_here ? 6'd8 : run_valid && run_ready ? size : 6'd0;

  bit_window #(.IN(32), .SHOW(32)) window (
      .clk(clk), .rst(rst || start), .in_valid(in_valid), .in_ready(in_ready), .in_bits(in_bits), .in_size(6'd32),
      .show(show), .have(have), .take(take));
  run_writer #(.POSITIONS(POSITIONS)) writer (
      .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .inverted(inverted),
      .run_valid(run_valid), .run_ready(run_ready), .length(length), .ends(!goes_on),
      .fill(payload_left == 0), .out_valid(out_valid), .out_ready(out_ready), .bits(bits), .count(count));

  always_ff @(posedge clk) begin
    if (rst || start) begin
      payload_left <= rst ? 0 : payload_bits;
      has_header <= 1'b0;
    end else begin
      payload_left <= payload_left - take;
      if (header_here) begin
        has_header <= 1'b1;
        inverted <= show[31];
        k <= show[27:24];
      end
    end
  end
endmodule
