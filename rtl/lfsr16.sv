// Galois LFSR of 16 bits that leaps 16 shifts a word, one lane; see linear_generator.sv. Row: weight_generator.
module lfsr16 #(
    parameter WORDS = 1
) (
    input  logic                       clk,
    input  logic                       load,
    input  logic [15:0]                seed,
    input  logic [$clog2(WORDS+1)-1:0] take,
    output logic [16*WORDS-1:0]        words,
    output logic [15:0]                state
);
  linear_generator #(.KIND(1), .WORDS(WORDS)) generator (.*);
endmodule
