// Decoder of compressed sparse rows: one entry (column and value) a cycle goes to its place in a chunk of positions.
//
// Row: mask_decoder (accelsim/timing/stations.py), symbols_per_cycle = 1; bits: accelsim/storage/csr.py.
// POSITIONS  mask_decoder.positions_per_cycle: a chunk      COLUMN_BITS, POINTER_BITS  of an index and of a row pointer
//
// Entries and row pointers (where a row ends) are two streams. A chunk leaves in the cycle in which the first entry behind it
// is taken, so that a chunk without entries costs a cycle of its own. Rows begin anywhere in a chunk.
module weights_csr #(
    parameter POSITIONS = 64,
    parameter COLUMN_BITS = 10,
    parameter POINTER_BITS = 20,
    parameter VALUE_BITS = 8
) (
    input  logic                            clk,
    input  logic                            rst,
    input  logic                            start,
    input  logic [31:0]                     num_positions,
    input  logic [31:0]                     num_columns,
    input  logic                            row_valid,
    output logic                            row_ready,
    input  logic [POINTER_BITS-1:0]         row_end,      // entries up to the end of the row
    input  logic                            entry_valid,
    output logic                            entry_ready,
    input  logic [COLUMN_BITS-1:0]          column,
    input  logic [VALUE_BITS-1:0]           value,
    output logic                            out_valid,
    input  logic                            out_ready,
    output logic [POSITIONS*VALUE_BITS-1:0] weights
);
  localparam C = $clog2(POSITIONS);

  logic [31:0] row_begin, num_taken, first, left;  // first: position in the chunk that is filled, a multiple of POSITIONS
  logic [POSITIONS*VALUE_BITS-1:0] chunk, next;
  wire row_done = row_valid && num_taken == row_end;
  wire [31:0] position = row_begin + column;
  wire has_entry = left != 0 && row_valid && !row_done && entry_valid;
  wire no_more = left != 0 && !row_valid;  // behind the last row
  wire behind = has_entry && position >= first + POSITIONS;  // the chunk is complete
  wire in_next = position - first < 2 * POSITIONS;
  wire leaves = out_valid && out_ready;

  assign out_valid = behind || no_more;
  assign entry_ready = has_entry && (!behind || (leaves && in_next));
  assign row_ready = row_done || (entry_ready && num_taken + 1 == row_end);
  assign weights = chunk;
  always_comb begin
    next = leaves ? 0 : chunk;
    if (entry_ready) next[VALUE_BITS*position[C-1:0]+:VALUE_BITS] = value;
  end
  always_ff @(posedge clk) begin
    chunk <= next;
    if (rst || start) begin
      chunk <= 0;
      row_begin <= 0;
      num_taken <= 0;
      first <= 0;
      left <= rst ? 0 : num_positions;
    end else begin
      if (row_ready) row_begin <= row_begin + num_columns;
      if (entry_ready) num_taken <= num_taken + 1;
      if (leaves) begin
        first <= first + POSITIONS;
        left <= left < POSITIONS ? 0 : left - POSITIONS;
      end
    end
  end
endmodule
