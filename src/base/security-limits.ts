import { dayMs, hourMs, KiB, MiB, minuteMs, secondMs } from "./units.ts";

/** The bounds of encryption, identities and access; as in limits.ts, each with its reason and a test at it. */

// What is TLS's.

/** A certificate, key or list of revoked ones, as a file. A list of 10,000 revoked certificates has some 400 KB. */
export const credentialFileMaxBytes = 1 * MiB;

/**
 * What a TLS connection may say before it is known for whom it is. A ClientHello of today, with a key for the time after quantum computers,
 * has some 1.6 KiB, and one that offers two of those has less than twice as much.
 */
export const clientHelloMaxBytes = 8 * KiB;

/**
 * Handshakes that begin in one turn of the loop. A flight of the node is a signature and an exchange of keys, and takes about a millisecond with all
 * that is around it; so clients, peers and their heartbeats wait for some milliseconds at most, however many come at once.
 */
export const handshakesPerTurn = 4;

/** How often the files of certificates are looked at: with that and a turn, a revoked one is cut off within five seconds. */
export const certificatePollMs = 2 * secondMs;

/** How long before its certificate expires a node begins to warn: time to make another one, with a weekend in it. */
export const certificateWarningMs = 14 * dayMs;

/** How often what an operator should know, and can't be told by an error, is said again. */
export const securityReminderMs = 1 * hourMs;

/** A name that stands for who shows it, or of a role. It is logged, and matched by rules of access. A URI is longer than a common name, which has 64. */
export const principalNameMaxChars = 256;

/** How long a refused connection has to take why: a client that doesn't read it isn't waited for. */
export const refusalLingerMs = 1 * secondMs;

/** What `proglog certs` makes: how long authorities and the certificates that they sign are valid. */
export const authorityDays = 3_650;
export const certificateDays = 90;

/** How far back what `proglog certs` makes begins: clocks of other machines may be a little late. */
export const certificateBackdateMs = 5 * minuteMs;

/** How often a node warns again of a certificate that will expire soon. */
export const certificateReminderMs = 1 * dayMs;

/** A name that `proglog certs` gives: X.509 has common names end there. */
export const certificateNameMaxChars = 64;

// What is access's (docs/security.md).

/** Rules of a policy, roles given among them: each uncached decision looks at some of them, and the policy travels whole at each change. */
export const accessRulesMaxCount = 2_000;

/** Tokens of a policy: some 250 bytes each. */
export const accessTokensMaxCount = 1_000;

/** The text of a policy: with what JSON adds in a command of the catalog far below `catalogCommandMaxBytes`. */
export const policyMaxBytes = 512 * KiB;

/** Roles that one principal may have, through others too: as many questions are put to the model at most. */
export const rolesMaxCount = 64;

/** How often a change of the policy is made anew, since another one came between. */
export const policyChangeTriesMaxCount = 20;

/** Decisions that are remembered: those of 100 principals on 100 topics, some 2 MiB. */
export const decisionsMaxCount = 10_000;

/** A token lives for 100 years at most: what is longer is none. */
export const tokenLifeMaxMs = 100 * 365 * 24 * 60 * minuteMs;

/** How often open streams are looked at for tokens whose time is over. Well below the 5 s within which they are to end. */
export const tokenSweepMs = 1 * secondMs;

/** Before a wrong token is refused: doubled with each further one of the same address, from the first to the last. */
export const failedTokenMinMs = 100;
export const failedTokenMaxMs = 5 * secondMs;

/** Addresses whose wrong tokens are remembered, and for how long after the last one. */
export const failedSourcesMaxCount = 4_096;
export const failedSourceMs = 1 * minuteMs;

/** Refusals that wait; further ones go out at once, so that wrong tokens can't fill the memory. */
export const refusalsWaitingMaxCount = 1_024;

/** Characters of a token of any kind: one of an identity provider has some 2,000, and all headers of a request together 16 KiB. */
export const bearerTokenMaxChars = 8 * KiB;

/** Characters of the token in `--admin-token-file`: as many as 24 random bytes have. */
export const adminTokenMinChars = 32;

/** Bytes of one audit file, and how many there are besides the newest. */
export const auditFileMaxBytes = 10 * MiB;
export const auditFilesMaxCount = 4;

/** Lines that wait for the disk; further ones are counted. */
export const auditWaitingMaxCount = 10_000;

/** Denials of one principal from one address that are written each minute; further ones are counted. */
export const auditDenialsMaxCount = 10;
export const auditDenialsMs = 1 * minuteMs;
export const auditSourcesMaxCount = 4_096;

/** Topics of one ProduceStream that are looked at again when the policy changes: some kilobytes. */
export const watchedTopicsMaxCount = 1_000;

/** Principals whose bytes are counted for quotas; of more, those who had something longest ago are forgotten, which is to their good. */
export const quotaPrincipalsMaxCount = 10_000;

/** How long a stream that is held back sleeps before it looks whether it is still there. */
export const quotaWaitMaxMs = 1 * secondMs;

/** The smallest quota: with less a batch of the largest size would hold its stream back for more than an hour. */
export const quotaMinBytesPerSecond = 1 * KiB;

/** How old the keys of an issuer of tokens become: an hour is what issuers give who follows them to change over. */
export const issuerKeysMaxAgeMs = 10 * minuteMs;

/** How often they are asked for at most, whatever names of keys tokens have. */
export const issuerKeysRetryMs = 30 * secondMs;

/** An issuer's answer: some keys have a kilobyte each. */
export const issuerAnswerMaxBytes = 1 * MiB;
export const issuerAnswerMaxMs = 5 * secondMs;

/** Signed tokens that are remembered, and for how long none is looked at again: so long one of a key that was withdrawn may still pass. */
export const signedTokensMaxCount = 10_000;
export const signedTokenRecheckMs = 1 * minuteMs;
