// Words from a memory that the test has filled, with random gaps.
module feeder #(
    parameter WIDTH = 32,
    parameter DEPTH = 65536,
    parameter [31:0] SEED = 1
) (
    input  logic             clk,
    input  logic             rst,
    input  logic [7:0]       gap,
    output logic             valid,
    input  logic             ready,
    output logic [WIDTH-1:0] bits
);
  logic [WIDTH-1:0] memory[0:DEPTH-1];
  logic [$clog2(DEPTH)-1:0] next;
  logic go, waits;  // what was offered stays offered
  noise #(.SEED(SEED)) gaps (.clk(clk), .rst(rst), .gap(gap), .go(go));
  assign valid = !rst && (go || waits);
  assign bits = memory[next];
  always_ff @(posedge clk) begin
    waits <= valid && !ready;
    if (rst) next <= 0;
    else if (valid && ready) next <= next + 1'b1;
  end
endmodule
