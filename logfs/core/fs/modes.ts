/** st_mode's bits (Linux include/uapi/linux/stat.h). */
const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;
export const S_IXGRP = 0o010;
/** Permission bits with set-id and sticky. */
export const MODE_BITS = 0o7777;

/** A check's mask (access(2)). */
export const R_OK = 4;
export const W_OK = 2;
export const X_OK = 1;

export function typeOf(mode: number): number {
  return mode & S_IFMT;
}

export function isDirectory(mode: number): boolean {
  return typeOf(mode) === S_IFDIR;
}

/** What is written to, is written to this file system: not so devices, fifos and sockets. */
export function isStored(mode: number): boolean {
  return isRegular(mode) || isDirectory(mode) || typeOf(mode) === S_IFLNK;
}

export function isRegular(mode: number): boolean {
  return typeOf(mode) === S_IFREG;
}
