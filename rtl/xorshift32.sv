// xorshift32 (Marsaglia 2003: 13, 17, 5), one lane; see linear_generator.sv. Row: weight_generator.
module xorshift32 #(
    parameter WORDS = 1
) (
    input  logic                       clk,
    input  logic                       load,
    input  logic [31:0]                seed,
    input  logic [$clog2(WORDS+1)-1:0] take,
    output logic [32*WORDS-1:0]        words,
    output logic [31:0]                state
);
  linear_generator #(.KIND(0), .WORDS(WORDS)) generator (.*);
endmodule
