// Logic that the cost tables count and that no unit of this folder contains: each for area, or as a yardstick. Combinational
// but for the vector lane.

// The yardstick of energy: accelsim/cost/tables/gates.yaml, gate_energy.
module add32 (
    input  logic [31:0] a,
    input  logic [31:0] b,
    output logic [31:0] sum
);
  assign sum = a + b;
endmodule

// What a PE that skips zeros needs: the first kept weight of 16, and the place of each among the kept ones.
module skip_window (
    input  logic [15:0] keep,
    output logic [3:0]  first,
    output logic        any,
    output logic [79:0] place
);
  logic [4:0] sum;
  assign any = |keep;
  always_comb begin
    first = 0;
    for (int i = 15; i >= 0; i = i - 1) if (keep[i]) first = i;
    sum = 0;
    for (int i = 0; i < 16; i = i + 1) begin
      place[5*i+:5] = sum;
      sum = sum + keep[i];
    end
  end
endmodule

// A lane of the vector unit: 16-bit multiplier and 32-bit adder, a register before, between and behind them.
module vector_lane (
    input  logic               clk,
    input  logic signed [15:0] a,
    input  logic signed [15:0] b,
    input  logic signed [31:0] offset,
    output logic signed [31:0] result
);
  logic signed [31:0] operands, product;
  always_ff @(posedge clk) begin
    operands <= {a, b};
    product <= $signed(operands[31:16]) * $signed(operands[15:0]);
    result <= product + offset;
  end
endmodule
