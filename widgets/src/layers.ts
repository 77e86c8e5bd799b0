/** Which layer a stage stands in: behind all it reads from, and as near as can be to what reads it. */

export function layersOf(nodes: number, edges: { from: number; to: number }[]): number[] {
  const layers = new Array<number>(nodes).fill(0);
  // So many rounds are enough for the longest path; a cycle, which a graph cannot have, would end here too.
  for (let round = 0, moved = true; moved && round < nodes; round++) {
    moved = false;
    for (const { from, to } of edges) {
      const least = (layers[from] ?? 0) + 1;
      if ((layers[to] ?? 0) < least && least < nodes) {
        layers[to] = least;
        moved = true;
      }
    }
  }
  // A source that only feeds a late join stands beside the join, or its edge would cross the whole picture.
  for (let round = 0, moved = true; moved && round < nodes; round++) {
    moved = false;
    for (let node = 0; node < nodes; node++) {
      if (edges.some((edge) => edge.to === node)) continue;
      const readers = edges.filter((edge) => edge.from === node).map((edge) => (layers[edge.to] ?? 0) - 1);
      const most = Math.min(...readers);
      if (readers.length && most > (layers[node] ?? 0)) {
        layers[node] = most;
        moved = true;
      }
    }
  }
  return layers;
}
