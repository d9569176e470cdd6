/** What is asked of a group that may rest: in the order of their coming, and whether it is led here. */
export interface RestingGroup {
  readonly number: number;
  readonly isLed: boolean;
}

/**
 * Which groups of a node are ticked, and when those that sleep are woken for no reason but the time. A thousand groups that were asked at each
 * tick whether they sleep would cost more than all that is awake; so each is here in one of two sets, and moved when it says so.
 *
 * Who leads wakes the others, so a follower's own turn comes only when its leader's didn't: later than a leader's ever is. Turns lie
 * spread, for groups that were made together fall asleep together too.
 */
export class GroupRest<Group extends RestingGroup> {
  readonly #wakeTicks: number;
  readonly #awake = new Set<Group>();
  /** When each that sleeps is to be woken, and by tick. */
  readonly #turnOf = new Map<Group, number>();
  readonly #turns = new Map<number, Set<Group>>();

  constructor(wakeTicks: number) {
    this.#wakeTicks = wakeTicks;
  }

  get awake(): ReadonlySet<Group> {
    return this.#awake;
  }

  woke(group: Group): void {
    this.#endTurn(group);
    this.#awake.add(group);
  }

  slept(group: Group, nowTick: number): void {
    this.forget(group);
    // Multiples of the golden ratio leave no gap much wider than another, however many there are.
    const spread = 0.5 * ((group.number * goldenRatio) % 1);
    const turn = nowTick + Math.ceil(this.#wakeTicks * ((group.isLed ? 0.5 : 1) + spread));
    this.#turnOf.set(group, turn);
    const others = this.#turns.get(turn);
    if (others === undefined) this.#turns.set(turn, new Set([group]));
    else others.add(group);
  }

  /** Neither is it ticked nor woken from now on. */
  forget(group: Group): void {
    this.#endTurn(group);
    this.#awake.delete(group);
  }

  /** Those whose turn this tick is, each tick asked once. Whoever doesn't wake of it gets another turn. */
  due(nowTick: number): readonly Group[] {
    const due = [...(this.#turns.get(nowTick) ?? [])];
    for (const group of due) this.slept(group, nowTick);
    return due;
  }

  #endTurn(group: Group): void {
    const turn = this.#turnOf.get(group);
    if (turn === undefined) return;
    this.#turnOf.delete(group);
    const others = this.#turns.get(turn);
    others?.delete(group);
    if (others?.size === 0) this.#turns.delete(turn);
  }
}

const goldenRatio = (Math.sqrt(5) - 1) / 2;
