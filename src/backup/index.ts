export type { BackupPartition, BackupSource, SegmentRange, StorePiece } from "./backup-source.ts";
export { type BackupManifest, getBackupManifest } from "./backup-manifest.ts";
export { openLocalSource } from "./local-source.ts";
export { restoreBackup, type RestoreReport } from "./restore-backup.ts";
export { type BackupVerification, type VerifiedLog, verifyBackup } from "./verify-backup.ts";
export { type BackupProgress, type BackupReport, writeBackup } from "./write-backup.ts";
