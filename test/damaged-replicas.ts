/** Whether a replica of the node is out of the write path, by its metrics; throws what they say where none is. */
export async function hasDamagedReplica({ address }: { readonly address: string }): Promise<boolean> {
  const metrics = await (await fetch(`http://${address}/metrics`)).text();
  const [line = "", count] = /^proglog_groups\{role="damaged"\} (\d+)$/m.exec(metrics) ?? [];
  if (Number(count) > 0) return true;
  throw new Error(line);
}
