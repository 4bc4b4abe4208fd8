// A matrix-power jump of a sequential generator: one column of the BITS x BITS matrix over GF(2) a cycle.
//
// Row: weight_generator (accelsim/timing/stations.py), action jumps: weight_generator.jump_cycles = BITS.
// BITS  of the generator's state (16 or 32).
//
// `start` takes the state; the columns (images of bit 0, 1, ...) come one a cycle from a table, from that cycle on.
// `done` is high with the last column: `jumped` is then the state behind the jump.
module jump #(
    parameter BITS = 32
) (
    input  logic            clk,
    input  logic            start,
    input  logic [BITS-1:0] state,
    input  logic [BITS-1:0] column,
    output logic            done,
    output logic [BITS-1:0] jumped
);
  logic [BITS-1:0] left, sum;
  logic [$clog2(BITS)-1:0] count;
  wire [BITS-1:0] bits = start ? state : left;

  assign jumped = (start ? {BITS{1'b0}} : sum) ^ (bits[0] ? column : {BITS{1'b0}});
  assign done = !start && count == BITS - 1;
  always_ff @(posedge clk) begin
    left <= bits >> 1;
    sum <= jumped;
    count <= start ? 1 : count + 1'b1;
  end
endmodule
