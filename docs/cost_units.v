// Units whose gates the notes of accelsim/cost/tables/arithmetic.yaml name; those of gates.yaml are in rtl/. For each module M:
//   yosys -p "read_verilog cost_units.v; hierarchy -top M; synth -flatten -top M; abc -g cmos2; stat -tech cmos"
// Yosys 0.70 prints an estimated number of transistors; a gate equivalent (one NAND2) is four of them. Flip-flops with a reset or an
// enable are not in that number, plain ones are, at 16 transistors: the tables count flip-flops apart and take combinational
// gates only. The mapper's result moves by up to 6 % with the names of signals. No timing constraint, no placement: an estimate, see
// docs/cost.md.

// Generators. The state is loaded with a seed; one word (or 32 steps of a shift register) a cycle.
module xorshift32(input clk, input load, input [31:0] seed, output [31:0] word);
  reg [31:0] state;
  wire [31:0] a = state ^ (state << 13), b = a ^ (a >> 17), c = b ^ (b << 5);
  assign word = state;
  always @(posedge clk) state <= load ? seed : c;
endmodule

module lfsr32_leap32(input clk, input load, input [31:0] seed, output [31:0] word);
  reg [31:0] state, next;
  integer i;
  assign word = state;
  always @(*) begin
    next = state;
    for (i = 0; i < 32; i = i + 1) next = {next[0] ^ next[10] ^ next[30] ^ next[31], next[31:1]};
  end
  always @(posedge clk) state <= load ? seed : next;
endmodule

module lfsr16_leap16(input clk, input load, input [15:0] seed, output [15:0] word);
  reg [15:0] state, next;
  integer i;
  assign word = state;
  always @(*) begin
    next = state;
    for (i = 0; i < 16; i = i + 1) next = {next[0] ^ next[2] ^ next[3] ^ next[5], next[15:1]};
  end
  always @(posedge clk) state <= load ? seed : next;
endmodule

// One of the ten rounds of Philox4x32-10 (Salmon et al. 2011), and one step of its key schedule.
module philox_round(input [127:0] counter, input [63:0] key, output [127:0] out);
  wire [63:0] p0 = counter[31:0] * 64'h00000000D2511F53, p1 = counter[95:64] * 64'h00000000CD9E8D57;
  assign out = {p0[31:0], p0[63:32] ^ counter[127:96] ^ key[63:32], p1[31:0], p1[63:32] ^ counter[63:32] ^ key[31:0]};
endmodule

module philox_key(input [63:0] key, output [63:0] out);
  assign out = {key[63:32] + 32'hBB67AE85, key[31:0] + 32'h9E3779B9};
endmodule

// The hash that derives a stream's seed (finaliser of MurmurHash3).
module seed_hash(input [31:0] in, output [31:0] out);
  wire [31:0] a = in ^ (in >> 16), b = a * 32'h85ebca6b, c = b ^ (b >> 13), d = c * 32'hc2b2ae35;
  assign out = d ^ (d >> 16);
endmodule

// One column of a matrix-power jump.
module jump_step(input clk, input load, input state_bit, input [31:0] column, input [31:0] seed, output reg [31:0] sum);
  always @(posedge clk) sum <= load ? seed : sum ^ (state_bit ? column : 32'd0);
endmodule

// A freezing word against the two thresholds.
module freeze16(input [15:0] word, input [15:0] prune, input [15:0] lock, output [1:0] below);
  assign below = {word < prune, word < lock};
endmodule

// Multiply-accumulate units and their parts.
module mac_ternary(input clk, input clear, input signed [7:0] a, input sign, input keep, output reg signed [23:0] sum);
  wire signed [8:0] product = keep ? (sign ? -{a[7], a} : {a[7], a}) : 9'd0;
  always @(posedge clk) sum <= clear ? 0 : sum + product;
endmodule

module mac_binary_xnor(input clk, input clear, input a, input sign, output reg signed [23:0] sum);
  wire signed [1:0] product = (a ^ sign) ? -2'sd1 : 2'sd1;
  always @(posedge clk) sum <= clear ? 0 : sum + product;
endmodule

module mac_int8(input clk, input clear, input signed [7:0] a, input signed [7:0] w, output reg signed [31:0] sum);
  always @(posedge clk) sum <= clear ? 0 : sum + a * w;
endmodule

module mac_int4(input clk, input clear, input signed [3:0] a, input signed [3:0] w, output reg signed [23:0] sum);
  always @(posedge clk) sum <= clear ? 0 : sum + a * w;
endmodule

module mul_i4(input signed [3:0] a, input signed [3:0] b, output signed [7:0] out); assign out = a * b; endmodule
module mul_i8(input signed [7:0] a, input signed [7:0] b, output signed [15:0] out); assign out = a * b; endmodule
module mul_i16(input signed [15:0] a, input signed [15:0] b, output signed [31:0] out); assign out = a * b; endmodule
module add_i24(input [23:0] a, input [23:0] b, output [23:0] out); assign out = a + b; endmodule
module add_i32(input [31:0] a, input [31:0] b, output [31:0] out); assign out = a + b; endmodule

// Mask decoder. One stage of the shift register that raw bits run through:
module raw_stage(input clk, input load, input in, input previous, output reg out);
  always @(posedge clk) out <= load ? in : previous;
endmodule

// Stored bits to the free positions of a map of 16.
module expand16(input [15:0] free, input [15:0] stored, output reg [15:0] out);
  integer i;
  reg [4:0] rank;
  always @(*) begin
    rank = 0;
    for (i = 0; i < 16; i = i + 1) begin
      out[i] = free[i] & stored[rank[3:0]];
      rank = rank + free[i];
    end
  end
endmodule

module prefix_sum16(input [15:0] in, output [79:0] out);
  genvar g;
  wire [4:0] sum[0:16];
  assign sum[0] = 0;
  generate
    for (g = 0; g < 16; g = g + 1) begin : step
      assign sum[g + 1] = sum[g] + in[g];
      assign out[g * 5 +: 5] = sum[g];
    end
  endgenerate
endmodule

module priority16(input [15:0] in, output reg [3:0] first, output any);
  integer i;
  assign any = |in;
  always @(*) begin
    first = 0;
    for (i = 15; i >= 0; i = i - 1) if (in[i]) first = i;
  end
endmodule

module priority64(input [63:0] in, output reg [5:0] first, output any);
  integer i;
  assign any = |in;
  always @(*) begin
    first = 0;
    for (i = 63; i >= 0; i = i - 1) if (in[i]) first = i;
  end
endmodule

module rle_symbol(input clk, input clear, input [3:0] run, output reg [15:0] position);
  always @(posedge clk) position <= clear ? 0 : position + run + 1;
endmodule

module golomb_symbol(
  input clk, input clear, input [15:0] window, input [2:0] k, output reg [15:0] position, output [4:0] used);
  integer i;
  reg [4:0] quotient;
  always @(*) begin
    quotient = 16;
    for (i = 15; i >= 0; i = i - 1) if (!window[i]) quotient = i;
  end
  wire [15:0] remainder = (window >> (quotient + 1)) & ((16'd1 << k) - 1);
  assign used = quotient + 1 + k;
  always @(posedge clk) position <= clear ? 0 : position + (quotient << k) + remainder + 1;
endmodule

// One symbol of a binary range decoder: 32-bit range, 12-bit probability, renormalised in the same cycle.
module entropy_symbol(
  input clk, input load, input [31:0] in, input [11:0] probability, output symbol,
  output reg [31:0] range, output reg [31:0] value);
  wire [31:0] bound = (range >> 12) * probability;
  assign symbol = value >= bound;
  wire [31:0] new_range = symbol ? range - bound : bound, new_value = symbol ? value - bound : value;
  integer i;
  reg [4:0] zeros;
  always @(*) begin
    zeros = 0;
    for (i = 0; i < 32; i = i + 1) if (new_range[i]) zeros = 31 - i;
  end
  always @(posedge clk)
    if (load) begin
      range <= 32'hffffffff;
      value <= in;
    end else begin
      range <= new_range << zeros;
      value <= (new_value << zeros) | (in >> (32 - zeros));
    end
endmodule

module csr_symbol(
  input clk, input clear, input [7:0] step, input [7:0] in, output reg [15:0] position, output reg [7:0] value);
  always @(posedge clk) begin
    position <= clear ? 0 : position + step;
    value <= in;
  end
endmodule

module nm_symbol(input [1:0] place, input [7:0] value, output [31:0] out);
  assign out = {24'd0, value} << {place, 3'd0};
endmodule
