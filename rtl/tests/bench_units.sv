// Small units side by side: seeds, jumps, freezing map, PEs with and without clock gates, decoders of values.
module bench_units (
    input  logic         clk,
    input  logic         rst,
    input  logic [31:0]  base,
    input  logic [31:0]  position,
    output logic [31:0]  seed_32,
    output logic [31:0]  second_32,       // of the other stream of the same lane
    output logic [15:0]  seed_16,
    input  logic         jump_start,
    input  logic [31:0]  jump_state,
    input  logic [31:0]  jump_column,
    output logic         jump_done,
    output logic [31:0]  jumped,
    input  logic [31:0]  word,
    input  logic [16:0]  prune,
    input  logic [16:0]  lock,
    output logic [1:0]   locked,
    output logic [1:0]   free,
    input  logic         pe_valid,
    input  logic         pe_first,
    input  logic [7:0]   pe_a,
    input  logic [7:0]   pe_w,
    output logic [255:0] sums,
    output logic [31:0]  num_edges,       // of the gated ternary PE's operand clock
    input  logic         start,
    input  logic [31:0]  num_positions,
    input  logic [31:0]  num_columns,
    output logic [127:0] csr_weights,
    output logic         csr_valid,
    output logic [127:0] bitmap_weights,
    output logic         bitmap_valid,
    output logic [127:0] nm_weights,
    output logic         nm_valid,
    input  logic [7:0]   gap
);
  seed_hash #(.BITS(32)) hash_32 (.base(base), .position(position), .seed(seed_32));
  seed_second after_32 (.seed(seed_32), .second(second_32));
  seed_hash #(.BITS(16)) hash_16 (.base(base), .position(position), .seed(seed_16));
  jump #(.BITS(32)) leap (
      .clk(clk), .start(jump_start), .state(jump_state), .column(jump_column), .done(jump_done), .jumped(jumped));
  freezing_map map (.word(word), .prune(prune), .lock(lock), .locked(locked), .free(free));

  genvar a, g;
  generate
    for (a = 0; a < 4; a = a + 1) begin : arithmetic
      for (g = 0; g < 2; g = g + 1) begin : gated
        localparam A = a == 3 ? 1 : a == 1 ? 4 : 8;
        localparam W = a == 3 ? 1 : a == 1 ? 4 : a == 0 ? 2 : 8;
        pe #(.ARITHMETIC(a), .GATED(g)) one (
            .clk(clk), .valid(pe_valid), .first(pe_first), .activation(pe_a[A-1:0]), .weight(pe_w[W-1:0]),
            .sum(sums[32*(2*a+g)+:32]));
      end
    end
  endgenerate
  always @(posedge arithmetic[0].gated[1].one.operand_clk or posedge rst) num_edges <= rst ? 0 : num_edges + 1;

  // Decoders of values, 16 positions of 8 bits a cycle: CSR with 12-bit columns and 16-bit pointers, bitmap, 2:4.
  logic go, v_row, r_row, v_entry, r_entry, v_map, r_map, v_values, r_values, v_nm, r_nm, v_places, r_places;
  logic ov_csr, ov_bitmap, ov_nm;
  logic [15:0] row_end, map_bits, places;
  logic [19:0] entry;
  logic [127:0] map_values;
  logic [63:0] nm_values;
  wire holds = rst || start;
  noise #(.SEED(3)) gaps (.clk(clk), .rst(rst), .gap(gap), .go(go));
  feeder #(.WIDTH(16), .DEPTH(1024), .SEED(21)) rows (
      .clk(clk), .rst(holds), .gap(8'd0), .valid(v_row), .ready(r_row), .bits(row_end));
  feeder #(.WIDTH(20), .SEED(22)) entries (
      .clk(clk), .rst(holds), .gap(gap), .valid(v_entry), .ready(r_entry), .bits(entry));
  feeder #(.WIDTH(16), .SEED(23)) maps (
      .clk(clk), .rst(holds), .gap(gap), .valid(v_map), .ready(r_map), .bits(map_bits));
  feeder #(.WIDTH(128), .SEED(24)) values (
      .clk(clk), .rst(holds), .gap(gap), .valid(v_values), .ready(r_values), .bits(map_values));
  feeder #(.WIDTH(64), .SEED(25)) slots (
      .clk(clk), .rst(holds), .gap(gap), .valid(v_nm), .ready(r_nm), .bits(nm_values));
  feeder #(.WIDTH(16), .SEED(26)) slot_places (
      .clk(clk), .rst(holds), .gap(gap), .valid(v_places), .ready(r_places), .bits(places));
  weights_csr #(.POSITIONS(16), .COLUMN_BITS(12), .POINTER_BITS(16)) csr (
      .clk(clk), .rst(rst), .start(start), .num_positions(num_positions), .num_columns(num_columns),
      .row_valid(v_row && row_end != 16'hFFFF), .row_ready(r_row), .row_end(row_end),
      .entry_valid(v_entry), .entry_ready(r_entry), .column(entry[19:8]), .value(entry[7:0]),
      .out_valid(ov_csr), .out_ready(go), .weights(csr_weights));
  weights_bitmap #(.POSITIONS(16)) bitmap (
      .clk(clk), .rst(rst), .start(start), .num_positions(num_positions), .map_valid(v_map), .map_ready(r_map),
      .map_bits(map_bits), .values_valid(v_values), .values_ready(r_values), .values_bits(map_values),
      .out_valid(ov_bitmap), .out_ready(go), .weights(bitmap_weights));
  weights_nm #(.N(2), .M(4), .GROUPS(4)) nm (
      .values_valid(v_nm), .values_ready(r_nm), .values(nm_values), .places_valid(v_places), .places_ready(r_places),
      .places(places), .out_valid(ov_nm), .out_ready(go), .weights(nm_weights));
  assign csr_valid = ov_csr && go;
  assign bitmap_valid = ov_bitmap && go;
  assign nm_valid = ov_nm && go;
endmodule
