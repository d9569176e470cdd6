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

/** How often the files of certificates are looked at: with that and a turn, a revoked one is cut off within five seconds. */
export const certificatePollMs = 2 * secondMs;

/** How long before its certificate expires a node begins to warn: time to make another one, with a weekend in it. */
export const certificateWarningMs = 14 * dayMs;

/** How often what an operator should know, and can't be told by an error, is said again. */
export const securityReminderMs = 1 * hourMs;

/** A name in a certificate that stands for who shows it. It is logged, and matched by rules of access. */
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
