/** One reading of a job: a table of numbers for its stages and one for its queues. */

import { assert, type Fields, type Last } from "./model";

/** Columns by name over one run of numbers; what is not known is NaN. */
export class Table {
  readonly height: number;
  #columns: Map<string, number>;
  #values: Float64Array;
  #width: number;

  constructor(names: string[], values: Float64Array, height: number) {
    assert(values.length === names.length * height, `${values.length} numbers for ${height} rows of ${names.length}`);
    this.height = height;
    this.#columns = new Map(names.map((name, at) => [name, at]));
    this.#values = values;
    this.#width = names.length;
  }

  get(row: number, name: string): number {
    const column = this.#columns.get(name);
    return column === undefined ? NaN : (this.#values[row * this.#width + column] ?? NaN);
  }
}

export interface Frame {
  nodes: Table;
  edges: Table;
}

/** Read a frame from the bytes of a message, which need not lie at a multiple of eight. */
export function decode(bytes: DataView | ArrayBuffer, fields: Fields, nodes: number, edges: number): Frame {
  const values = numbers(bytes);
  const cut = nodes * fields.node.length;
  assert(
    values.length === cut + edges * fields.edge.length,
    `a frame of ${values.length} numbers does not fit ${nodes} stages and ${edges} queues`,
  );
  return {
    nodes: new Table(fields.node, values.subarray(0, cut), nodes),
    edges: new Table(fields.edge, values.subarray(cut), edges),
  };
}

/** Read the final state that a job leaves in its model. */
export function ofLast(last: Last, fields: Fields, nodes: number, edges: number): Frame | null {
  if (last.node?.length !== nodes || (last.edge ?? []).length !== edges) return null;
  return {
    nodes: new Table(fields.node, flat(last.node), nodes),
    edges: new Table(fields.edge, flat(last.edge ?? []), edges),
  };
}

export function numbers(bytes: DataView | ArrayBuffer): Float64Array {
  const view = bytes instanceof DataView ? bytes : new DataView(bytes);
  assert(view.byteLength % 8 === 0, `${view.byteLength} bytes are not a whole number of Float64`);
  const out = new Float64Array(view.byteLength / 8);
  for (let i = 0; i < out.length; i++) out[i] = view.getFloat64(i * 8, true);
  return out;
}

function flat(rows: (number | null)[][]): Float64Array {
  return Float64Array.from(rows.flat(), (value) => value ?? NaN);
}
