/**
 * One batch in hex, for tests, put together by hand from the layout in `batch-header.ts`. Two independent clients of Kafka,
 * one in JavaScript and one in Python, make these very bytes of the same records.
 */
export const goldenNow = 1_700_000_000_000;

export const goldenRecords = [
  { key: "k1", value: "hello" },
  {
    value: Buffer.from([0, 255, 128]),
    headers: [
      { key: "h", value: "v" },
      { key: "ü", value: "" },
    ],
    timestamp: goldenNow + 5,
  },
  { key: "", value: null, timestamp: goldenNow - 300 },
] as const;

export const goldenBatch = Buffer.from(
  [
    "0000000000000000", // baseOffset 0
    "00000059", // batchLength 89: 101 bytes in all
    "00000000", // leaderEpoch 0
    "02", // magic
    "c6c3a0ac", // crc
    "0000", // attributes: not compressed, create time
    "00000002", // lastOffsetDelta
    "0000018bcfe56800", // baseTimestamp 1,700,000,000,000
    "0000018bcfe56805", // maxTimestamp: the second record's
    "ffffffffffffffff", // producerId: none
    "ffff", // producerEpoch: none
    "ffffffff", // baseSequence: none
    "00000003", // recordCount
    "1a" + "00" + "00" + "00" + "04" + "6b31" + "0a" + "68656c6c6f" + "00", // 13 bytes; key "k1", value "hello"
    "22" + "00" + "0a" + "02" + "01" + "06" + "00ff80" + "04", // 17 bytes; delta 5; offset 1; no key; 3 bytes; 2 headers
    "02" + "68" + "02" + "76", // "h": "v"
    "04" + "c3bc" + "00", // "ü": ""
    "0e" + "00" + "d704" + "04" + "00" + "01" + "00", // 7 bytes; delta -300; offset 2; key ""; a tombstone
  ].join(""),
  "hex",
);

/** The same records, gzipped by the JavaScript client. */
export const goldenGzipBatch = Buffer.from(
  "00000000000000000000006d0000000002cc72025e0001000000020000018bcfe568000000018bcfe56805ffffffffffffffffffffffffffff00000003" +
    "1f8b08000000000000039362606060c936e4ca48cdc9c9675062e062626463f8dfc0c294c154c672780f031fc375161606460600703d9ac728000000",
  "hex",
);
