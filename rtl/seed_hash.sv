// The hash that derives a stream's seed from the layer's. Combinational.
//
// Row: weight_generator (accelsim/timing/stations.py), action derived_seeds; bits: accelsim/prng/streams.py.
// BITS  of the generator's state (16 or 32).
//
// position = 2 x stream + domain (0 weights, 1 freezing map). Philox takes the seed as its key; no seed is ever 0.
module seed_hash #(
    parameter BITS = 32
) (
    input  logic [31:0]     base,      // the layer's seed, mixed once: mix(seed)
    input  logic [31:0]     position,
    output logic [BITS-1:0] seed
);
  wire [31:0] mixed;
  fmix32 mix (.value(position * 32'h9E3779B9 + base), .mixed(mixed));
  generate
    if (BITS == 32) assign seed = mixed == 0 ? 32'h9E3779B9 : mixed;
    else begin : fold
      wire [BITS-1:0] folded = mixed[BITS-1:0] ^ mixed[31:32-BITS];
      assign seed = folded == 0 ? 16'h9E37 : folded;
    end
  endgenerate
endmodule

// The finaliser of MurmurHash3 (Appleby, public domain): 32 bits mixed bijectively.
module fmix32 (
    input  logic [31:0] value,
    output logic [31:0] mixed
);
  wire [31:0] a = value ^ (value >> 16);
  wire [31:0] b = a * 32'h85EBCA6B;
  wire [31:0] c = b ^ (b >> 13);
  wire [31:0] d = c * 32'hC2B2AE35;
  assign mixed = d ^ (d >> 16);
endmodule

// A stored seed serves both streams of a lane: from the weights' to the freezing map's, the next position of the hash.
module seed_second (
    input  logic [31:0] seed,
    output logic [31:0] second
);
  wire [31:0] mixed, a, b, c, d;  // fmix32 backwards: each of its steps is a bijection
  assign a = seed ^ (seed >> 16);
  assign b = a * 32'h7ED1B41D;
  assign c = b ^ (b >> 13) ^ (b >> 26);
  assign d = c * 32'hA5CB9243;
  fmix32 mix (.value((d ^ (d >> 16)) + 32'h9E3779B9), .mixed(mixed));
  assign second = mixed == 0 ? 32'h9E3779B9 : mixed;
endmodule
