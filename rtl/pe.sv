// A processing element: two operand registers, what multiplies, and an accumulator.
//
// Row: pe_array (accelsim/timing/stations.py), one multiply-accumulate a cycle.
// ARITHMETIC  of the storage format: 0 ternary, 1 int4, 2 int8, 3 binary_xnor
// GATED       pe_array.zero_weights and zero_activations are `gate`: 1 stops the clocks of a PE in a cycle whose weight is
//             dropped or whose activation is zero; 0: the zero is computed
// SUM_BITS    accumulator_bits of the chip
//
// Weights: ternary {keep, negative}; int4 and int8 two's complement; xnor 1 for +1. xnor activations: 1 for +1.
// `first` begins a sum: the operands of that cycle are its first. A sum is complete two cycles behind its last operands.
module pe #(
    parameter ARITHMETIC = 0,
    parameter GATED = 1,
    parameter SUM_BITS = 32,
    parameter A_BITS = ARITHMETIC == 3 ? 1 : ARITHMETIC == 1 ? 4 : 8,
    parameter W_BITS = ARITHMETIC == 3 ? 1 : ARITHMETIC == 1 ? 4 : ARITHMETIC == 0 ? 2 : 8
) (
    input  logic                       clk,
    input  logic                       valid,
    input  logic                       first,
    input  logic [A_BITS-1:0]          activation,
    input  logic [W_BITS-1:0]          weight,
    output logic signed [SUM_BITS-1:0] sum
);
  logic [A_BITS-1:0] a;
  logic [W_BITS-1:0] w;
  logic adds, begins;
  wire operand_clk, sum_clk;
  wire signed [SUM_BITS-1:0] product;
  wire dropped, zero;  // one-bit values are never zero

  generate
    if (ARITHMETIC == 0) begin : ternary
      wire signed [A_BITS:0] wide = {a[A_BITS-1], a};
      wire signed [A_BITS:0] signed_a = w[0] ? -wide : wide;
      wire signed [A_BITS:0] kept = w[1] ? signed_a : 0;  // a signed 0, or the sign would be lost
      assign product = kept;
      assign dropped = !weight[1];
      assign zero = activation == 0;
    end else if (ARITHMETIC == 3) begin : xnor_1
      assign product = a == w ? 1 : -1;
      assign dropped = 1'b0;
      assign zero = 1'b0;
    end else begin : multiplier
      wire signed [A_BITS-1:0] signed_a = a;
      wire signed [W_BITS-1:0] signed_w = w;
      wire signed [A_BITS+W_BITS-1:0] exact = signed_a * signed_w;
      assign product = exact;
      assign dropped = weight == 0;
      assign zero = activation == 0;
    end
    if (GATED) begin : gates
      clock_gate operands (.clk(clk), .enable(valid && !dropped && !zero), .gated(operand_clk));
      clock_gate accumulator (.clk(clk), .enable(adds || begins), .gated(sum_clk));
    end else begin : no_gates
      assign operand_clk = clk;
      assign sum_clk = clk;
    end
  endgenerate

  always_ff @(posedge clk) begin
    adds <= valid && (GATED == 0 || (!dropped && !zero));
    begins <= first;
  end
  always_ff @(posedge operand_clk) begin
    a <= activation;
    w <= weight;
  end
  always_ff @(posedge sum_clk) begin
    if (begins) sum <= adds ? product : {SUM_BITS{1'b0}};
    else if (adds) sum <= sum + product;
  end
endmodule
