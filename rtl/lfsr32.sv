// Galois LFSR of 32 bits that leaps 32 shifts a word, one lane; see linear_generator.sv. Row: weight_generator.
module lfsr32 #(
    parameter WORDS = 1
) (
    input  logic                       clk,
    input  logic                       load,
    input  logic [31:0]                seed,
    input  logic [$clog2(WORDS+1)-1:0] take,
    output logic [32*WORDS-1:0]        words,
    output logic [31:0]                state
);
  linear_generator #(.KIND(2), .WORDS(WORDS)) generator (.*);
endmodule
