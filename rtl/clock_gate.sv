// A clock gate: a latch that is open while the clock is low, and an AND. A library's own cell may replace it. Row: pe_array, in pe.sv.
module clock_gate (
    input  logic clk,
    input  logic enable,
    output logic gated
);
  logic held;
  always_latch if (!clk) held = enable;
  assign gated = clk & held;
endmodule
