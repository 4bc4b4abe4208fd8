// The step of a sequential generator, unrolled: words 1 to WORDS behind a state. Combinational.
//
// Row: weight_generator (accelsim/timing/stations.py); bits: accelsim/prng/generators.py.
// KIND  weight_generator.kind: 0 xorshift32, 1 lfsr16, 2 lfsr32      WORDS  weight_generator.words_per_lane_per_cycle
//
// A word is the state behind a whole step: xorshift's three shifts, or as many shifts of an LFSR as it has bits.
module word_step #(
    parameter KIND = 0,
    parameter WORDS = 1,
    parameter BITS = KIND == 1 ? 16 : 32
) (
    input  logic [BITS-1:0]       state,
    output logic [BITS*WORDS-1:0] words
);
  // Feedback masks of Galois registers with taps 16, 14, 13, 11 and 32, 22, 2, 1.
  localparam [31:0] TAPS = KIND == 1 ? 32'h0000B400 : 32'h80200003;

  logic [BITS-1:0] word;
  generate
    if (KIND == 0) begin : xorshift
      always_comb begin
        word = state;
        for (int w = 0; w < WORDS; w = w + 1) begin
          word = word ^ (word << 13);
          word = word ^ (word >> 17);
          word = word ^ (word << 5);
          words[BITS*w+:BITS] = word;
        end
      end
    end else begin : lfsr
      always_comb begin
        word = state;
        for (int w = 0; w < WORDS; w = w + 1) begin
          for (int s = 0; s < BITS; s = s + 1) word = (word >> 1) ^ (word[0] ? TAPS[BITS-1:0] : {BITS{1'b0}});
          words[BITS*w+:BITS] = word;
        end
      end
    end
  endgenerate
endmodule
