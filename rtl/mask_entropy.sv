// Decoder of range-coded masks: one mask bit a cycle.
//
// Row: mask_decoder (accelsim/timing/stations.py), symbols_per_cycle = 1 of each of the interleaved streams;
// bits: accelsim/ticket/codecs.py, entropy: a binary range coder of 64 bits that moves words of 32, probabilities of 24 bits.
//
// The payload begins with the probability of a one in 1/65536. `value` is the code's distance from the low end of the range.
module mask_entropy (
    input  logic        clk,
    input  logic        rst,
    input  logic        start,
    input  logic [31:0] num_bits,
    input  logic [31:0] payload_bits,
    input  logic        in_valid,
    output logic        in_ready,
    input  logic [31:0] in_bits,
    output logic        out_valid,
    input  logic        out_ready,
    output logic        bits
);
  logic [31:0] show, payload_left, left;
  logic [6:0] have;
  logic [63:0] span, value;
  logic [23:0] zeros;  // probability of a zero in 2^-24
  logic [1:0] words_to_load;
  logic has_header;

  // What lies behind the payload counts as zeros.
  wire last = payload_left < 32;
  wire [5:0] size = last ? payload_left[5:0] : 6'd32;
  wire [31:0] word = last ? show & ~(32'hFFFFFFFF >> size) : show;
  wire word_here = have >= size;

  wire [16:0] zero = 17'd65536 - {1'b0, show[31:16]};  // rounded as the encoder rounds it, leaving a place for each symbol
  wire [23:0] zeros_of_header = {zero[15:0], 8'd0} - (zero > 17'd32768 ? 24'd1 : 24'd0);

  wire [39:0] scale = span[63:24];
  wire [63:0] bound = scale * zeros;
  wire [63:0] span_1 = scale * (25'd16777216 - {1'b0, zeros});
  wire one = value >= bound;
  wire [63:0] new_value = one ? value - bound : value;
  wire [63:0] new_span = one ? span_1 : bound;
  wire renews = new_span[63:32] == 0;
  wire loads = has_header && words_to_load != 0 && word_here;
  wire takes = out_valid && out_ready;
  wire header_here = !has_header && payload_left != 0 && have >= 16;
  wire [5:0] take = header_here ? 6'd16 : loads || (takes && renews) ? size : 6'd0;

  assign bits = one;
  assign out_valid = left != 0 && has_header && words_to_load == 0 && (!renews || word_here);
  bit_window #(.IN(32), .SHOW(32)) window (
      .clk(clk), .rst(rst || start), .in_valid(in_valid), .in_ready(in_ready), .in_bits(in_bits), .in_size(6'd32),
      .show(show), .have(have), .take(take));

  always_ff @(posedge clk) begin
    if (rst || start) begin
      left <= rst ? 0 : num_bits;
      payload_left <= rst ? 0 : payload_bits;
      has_header <= 1'b0;
      words_to_load <= 2;
      span <= 64'hFFFFFFFFFFFFFFFF;
    end else begin
      payload_left <= payload_left - take;
      if (header_here) begin
        has_header <= 1'b1;
        zeros <= zeros_of_header;
      end
      if (loads) begin
        value <= {value[31:0], word};
        words_to_load <= words_to_load - 1'b1;
      end
      if (takes) begin
        left <= left - 1;
        value <= renews ? {new_value[31:0], word} : new_value;
        span <= renews ? {new_span[31:0], 32'd0} : new_span;
      end
    end
  end
endmodule
