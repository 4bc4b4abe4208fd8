// One complete weight path: stored mask bits and seeds in, weights with their mask out, to a port of the weight buffer.
//
//   DMA --> mask_fifo --> decoder --> bit_window --> expander --> weight buffer
//                                                       ^
//   streams --> seed_hash --> weight_generator (lanes, freezing map)
//
// Rows: mask_decoder and weight_generator (accelsim/timing/stations.py).
// LANES, KIND, FIELD_BITS, WORDS, COUNTS, HASHES, POSITIONS  see weight_generator.sv      DEPTH  see mask_fifo.sv
// CODEC  of the ticket: 0 raw, 1 rle, 2 golomb, 3 entropy
//
// `start` begins a layer (its codec's header, or raw bits, come next). A chunk of POSITIONS weights leaves a cycle where `out_ready`:
// `there` positions of it belong to the tile, `keep` and `sign` (1: +1) are the weight. The word of the weight buffer is written at the
// end of that cycle. `moves`: the path is not held up in this cycle.
module weight_path #(
    parameter LANES = 32,
    parameter KIND = 0,
    parameter FIELD_BITS = 16,
    parameter CODEC = 0,
    parameter DEPTH = 2048,
    parameter HASHES = 2 * LANES,
    parameter WORDS = 1,
    parameter COUNTS = 0,
    parameter POSITIONS = LANES * WORDS * ((KIND == 1 ? 16 : 32) / FIELD_BITS),
    parameter WIDTH = CODEC == 0 ? POSITIONS : 32
) (
    input  logic                       clk,
    input  logic                       rst,
    input  logic                       start,
    input  logic [31:0]                num_bits,       // stored mask bits of the layer
    input  logic [31:0]                payload_bits,   // what they take as they are coded
    input  logic                       freezes,
    input  logic [FIELD_BITS:0]        prune,
    input  logic [FIELD_BITS:0]        lock,
    input  logic [31:0]                base,
    input  logic                       mask_valid,
    output logic                       mask_ready,
    input  logic [WIDTH-1:0]           mask_bits,
    input  logic                       stream_valid,
    output logic                       stream_ready,
    input  logic [31:0]                stream,
    input  logic                       round_valid,
    output logic                       round_ready,
    input  logic                       first,
    input  logic                       last,
    input  logic [1:0]                 load,
    input  logic [31:0]                offset,
    input  logic [31:0]                count,
    input  logic [$clog2(LANES+1)-1:0] num_lanes,
    input  logic [31:0]                num_fetched,
    input  logic [31:0]                num_places,
    output logic                       moves,
    output logic                       begins,
    output logic                       out_valid,
    input  logic                       out_ready,
    output logic                       out_last,
    output logic [POSITIONS-1:0]       there,
    output logic [POSITIONS-1:0]       keep,
    output logic [POSITIONS-1:0]       sign
);
  localparam C = $clog2(POSITIONS + 1);

  logic fifo_valid, fifo_ready, plain_valid, plain_ready;
  logic [WIDTH-1:0] fifo_bits;
  logic [POSITIONS-1:0] plain_bits, show;  // the first bit in the highest place
  logic [C-1:0] plain_count, take;
  logic [$clog2(2*POSITIONS+1)-1:0] have;
  logic chunk_valid, chunk_last;

  mask_fifo #(.WIDTH(WIDTH), .DEPTH(DEPTH)) fifo (
      .clk(clk), .rst(rst || start), .in_valid(mask_valid), .in_ready(mask_ready), .in_bits(mask_bits),
      .out_valid(fifo_valid), .out_ready(fifo_ready), .out_bits(fifo_bits));

  genvar p;
  generate
    if (CODEC == 0) begin : raw
      assign plain_valid = fifo_valid;
      assign fifo_ready = plain_ready;
      assign plain_bits = fifo_bits;
      assign plain_count = POSITIONS;
    end else begin : coded
      wire [POSITIONS-1:0] bits;  // the first bit in the lowest place
      if (CODEC == 1) begin : rle
        mask_rle #(.POSITIONS(POSITIONS)) decoder (
            .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_bits),
            .in_valid(fifo_valid), .in_ready(fifo_ready), .in_bits(fifo_bits),
            .out_valid(plain_valid), .out_ready(plain_ready), .bits(bits), .count(plain_count));
      end else if (CODEC == 2) begin : golomb
        mask_golomb #(.POSITIONS(POSITIONS)) decoder (
            .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_bits),
            .in_valid(fifo_valid), .in_ready(fifo_ready), .in_bits(fifo_bits),
            .out_valid(plain_valid), .out_ready(plain_ready), .bits(bits), .count(plain_count));
      end else begin : entropy
        mask_entropy decoder (
            .clk(clk), .rst(rst), .start(start), .num_bits(num_bits), .payload_bits(payload_bits),
            .in_valid(fifo_valid), .in_ready(fifo_ready), .in_bits(fifo_bits),
            .out_valid(plain_valid), .out_ready(plain_ready), .bits(bits[0]));
        assign bits[POSITIONS-1:1] = 0;
        assign plain_count = 1;
      end
      for (p = 0; p < POSITIONS; p = p + 1) begin : turn
        assign plain_bits[POSITIONS-1-p] = bits[p] && p < plain_count;
      end
    end
  endgenerate

  // A coded mask's symbols are taken for tiles that have stored bits and a place, and the decoder rests behind them: it has no tile.
  // `symbols_end`: the last chunk of a tile has its bits. A held path rests whole.
  wire held = out_valid && !out_ready;
  logic [31:0] num_open, num_left;  // tiles opened, and those of them whose symbols have not ended
  logic last_1, last_2;
  wire symbols_end = moves && last_2;
  wire opens = num_fetched > num_open && num_places > num_open;
  wire decodes = CODEC == 0 || (!held && num_left > symbols_end);
  wire window_ready;
  assign plain_ready = window_ready && decodes;
  always_ff @(posedge clk) begin
    if (rst || start) begin
      {num_open, num_left} <= 0;
      {last_1, last_2} <= 2'b0;
    end else begin
      if (moves) {last_1, last_2} <= {chunk_valid && chunk_last, last_1};
      if (!held) begin
        num_open <= num_open + opens;
        num_left <= num_left + opens - symbols_end;
      end
    end
  end

  bit_window #(.IN(POSITIONS), .SHOW(POSITIONS)) window (
      .clk(clk), .rst(rst || start), .in_valid(plain_valid && decodes), .in_ready(window_ready), .in_bits(plain_bits),
      .in_size(plain_count), .show(show), .have(have), .take(take));

  logic [POSITIONS-1:0] chunk_there, chunk_free, chunk_locked, chunk_sign;
  weight_generator #(.LANES(LANES), .KIND(KIND), .FIELD_BITS(FIELD_BITS), .WORDS(WORDS), .COUNTS(COUNTS),
      .HASHES(HASHES), .POSITIONS(POSITIONS)) generator (
      .clk(clk), .rst(rst || start), .moves(moves), .freezes(freezes), .prune(prune), .lock(lock), .base(base),
      .stream_valid(stream_valid), .stream_ready(stream_ready), .stream(stream),
      .round_valid(round_valid), .round_ready(round_ready), .first(first), .last(last), .load(load),
      .offset(offset), .count(count), .num_lanes(num_lanes), .num_fetched(num_fetched), .num_places(num_places),
      .begins(begins), .out_valid(chunk_valid), .out_last(chunk_last),
      .there(chunk_there), .free(chunk_free), .locked(chunk_locked), .sign(chunk_sign));

  expander #(.POSITIONS(POSITIONS)) spread (
      .clk(clk), .rst(rst || start), .moves(moves), .in_valid(chunk_valid), .in_last(chunk_last), .in_there(chunk_there),
      .in_free(chunk_free & chunk_there), .in_locked(chunk_locked), .in_sign(chunk_sign),
      .bits(show), .have(have), .take(take),
      .out_valid(out_valid), .out_ready(out_ready), .out_last(out_last),
      .out_there(there), .out_keep(keep), .out_sign(sign));
endmodule
