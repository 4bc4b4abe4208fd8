// Random gaps for benches: `go` is low in about gap / 256 of the cycles.
module noise #(
    parameter [31:0] SEED = 1
) (
    input  logic       clk,
    input  logic       rst,
    input  logic [7:0] gap,
    output logic       go
);
  logic [31:0] words, state;
  xorshift32 #(.WORDS(1)) source (.clk(clk), .load(rst), .seed(SEED), .take(1'b1), .words(words), .state(state));
  assign go = state[7:0] >= gap;
endmodule
