/** A tree with everything that an inode can be, for programs that copy trees. */
import { shell } from "./command.ts";
import { inCheckout } from "./paths.ts";

/**
 * Made below an existing directory, which must be on a file system with extended attributes: this
 * project's sources, hard and symbolic links, a fifo, a socket's kind left out (archives skip it),
 * devices, set-id and sticky bits, sparse and empty files, long and strange names, times with
 * nanoseconds.
 */
export async function makeSpecialTree(directory: string): Promise<void> {
  await shell(
    `
    cp -a ${inCheckout("logfs")} ${inCheckout("docs")} .
    mkdir links special names empty
    for i in $(seq 50); do echo "file $i" > links/$i; ln links/$i links/hard-$i; done
    ln -s ../links/1 links/symbolic; ln -s /nowhere/at/all links/dangling
    ln -s "$(printf 'x%.0s' $(seq 4000))" links/long
    mkfifo special/fifo; mknod special/null c 1 3; mknod special/block b 7 200; mknod special/large c 300 70000
    echo set > special/set-id; chown 1000:1001 special/set-id; chmod 6755 special/set-id
    mkdir special/shared; chmod 1777 special/shared; echo none > special/unreadable; chmod 0 special/unreadable
    truncate -s 20M special/hole
    truncate -s 64M special/sparse; echo middle | dd of=special/sparse bs=1 seek=50000000 conv=notrunc status=none
    : > special/nothing; touch -d '1901-12-14 00:00:00.123456789' special/nothing
    touch -d '2400-01-01 00:00:00.999999999' special/shared
    head -c 3000000 /dev/urandom > special/random
    setfattr -n user.colour -v blue special/random
    setfattr -n user.empty special/random
    setfattr -n user.long -v "$(printf 'y%.0s' $(seq 3000))" special/shared
    setfattr -n trusted.root -v yes links/1
    touch "names/$(printf 'n%.0s' $(seq 255))" "names/with space" "names/-rf" "names/*" 'names/new
line' names/ünïcödé "$(printf 'names/\\377\\376')"
    mkdir -p names/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20; echo deep > names/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/file`,
    { cwd: directory },
  );
}
