import Testing

/// A command line that is refused, and the line that says why.
struct Refusal: Sendable, CustomTestStringConvertible {
    /// Words, separated by spaces.
    let line: String
    /// After `stratovirt: `.
    let message: String

    init(_ line: String, _ message: String) {
        self.line = line
        self.message = message
    }

    var testDescription: String { line }
}

let refusals: [Refusal] = [
    Refusal("-kernal K", "unknown option '-kernal'; did you mean '-kernel'?"),
    Refusal("-kernel", "-kernel: needs a value: -kernel FILE"),
    Refusal("K", "unexpected word 'K'; an option begins with '-', see '-help'"),
    Refusal("-kernel K extra", "-kernel: unexpected word 'extra' after its value; put quotes around a value with spaces"),
    Refusal("-kernel K -kernel L", "-kernel: is given twice; keep one of the two"),
    Refusal("-S -freeze -kernel K", "-S: is given twice; keep one of the two"),
    Refusal("-S=on", "-S: takes no value; leave out what follows '='"),
    Refusal("-nonsense", "unknown option '-nonsense'; '-help' lists those there are"),
    Refusal("- -kernel K", "unknown option '-'; '-help' lists those there are"),
    Refusal("-- foo", "unexpected word 'foo' after '--'; nothing may follow it"),
    Refusal("-netdev tap,id=n", "option '-netdev' is not available in this version; '-help' lists those that are"),
    Refusal("-machine", "-machine: needs a value: -machine TYPE[,PROPERTY=VALUE...]"),
    Refusal("-machine microvmm", "-machine: unknown machine type 'microvmm'; did you mean 'microvm'?"),
    Refusal(
        "-machine standard_vm",
        "-kernel: without firmware a standard machine boots a kernel; name its image, or firmware by "
            + "-drive file=CODE,if=pflash,unit=0,readonly=on"),
    Refusal("-machine standard_vm,acpi=off -kernel K", "-machine: the standard machine has ACPI always; leave acpi=off out"),
    Refusal(
        "-machine standard_vm,empty-slots=on -kernel K",
        "-machine: virtio slots belong to a microvm; leave empty-slots=on out"),
    Refusal("-machine microvm,acpi=maybe", "-machine: acpi must be on or off, not 'maybe'"),
    Refusal("-machine microvm,apci=off", "-machine: unknown property 'apci'; did you mean 'acpi'?"),
    Refusal("-machine microvm,type=none", "-machine: property 'type' is given twice; keep one of the two"),
    Refusal("-machine microvm,usb=on", "-machine: usb=on is not available; leave it out"),
    Refusal("-machine microvm,accel=tcg", "-machine accel: unknown accelerator 'tcg'; use kvm"),
    Refusal("-machine microvm,,x", "-machine: unknown machine type 'microvm,x'; did you mean 'microvm'?"),
    Refusal(
        "-machine microvm,",
        "-machine: a property without a name; write name=value between commas, and ',,' for a comma itself"),
    Refusal("-accel hvf", "-accel: unknown accelerator 'hvf'; use kvm"),
    Refusal("-accel kvn", "-accel: unknown accelerator 'kvn'; did you mean 'kvm'?"),
    Refusal("-smp 0", "-smp: cpus must be a whole number from 1 to 254, not '0'"),
    Refusal("-smp 255", "-smp: cpus must be a whole number from 1 to 254, not '255'"),
    Refusal("-smp four", "-smp: cpus must be a whole number from 1 to 254, not 'four'"),
    Refusal(
        "-smp 4,cores=3",
        "-smp: sockets * dies * clusters * cores * threads is 1 * 1 * 1 * 3 * 1 = 3, but there are 4 virtual "
            + "CPUs; make the two equal"),
    Refusal("-smp 2,maxcpus=1", "-smp: maxcpus is 1, less than the 2 present at start; give at least that many"),
    Refusal("-smp 1,core=1", "-smp: unknown property 'core'; did you mean 'cores'?"),
    Refusal("-smp -1", "-smp: needs a value: -smp [cpus=]N[,PROPERTY=N...]"),
    Refusal("-smp 99999999999999999999", "-smp: cpus must be a whole number from 1 to 254, not '99999999999999999999'"),
    Refusal(
        "-smp 4,sockets=254,cores=254,threads=254",
        "-smp: sockets * dies * clusters * cores * threads is 254 * 1 * 1 * 254 * 254 = 16387064, but there "
            + "are 4 virtual CPUs; make the two equal"),
    Refusal("-cpu EPYC", "-cpu: unknown model 'EPYC'; use host"),
    Refusal("-cpu host,pmu=1", "-cpu: pmu must be on or off, not '1'"),
    Refusal("-m 64", "-m: size is 64 MiB; 128 MiB to 512 GiB are allowed"),
    Refusal("-m 513G", "-m: size is 513 GiB; 128 MiB to 512 GiB are allowed"),
    Refusal("-m 512X", "-m: size must be a whole number with K, M or G after it, such as 512M, not '512X'"),
    Refusal("-m 1024mb", "-m: size must be a whole number with K, M or G after it, such as 512M, not '1024mb'"),
    Refusal(
        "-m 99999999999999999999G",
        "-m: size must be a whole number with K, M or G after it, such as 512M, not '99999999999999999999G'"),
    Refusal("-m 262145k", "-m: size is 262145 KiB; give a multiple of 4 KiB"),
    Refusal("-m size=512M,maxmem=256M", "-m: maxmem is 256 MiB, less than size, which is 512 MiB; give at least that"),
    Refusal("-m", "-m: needs a value: -m [size=]N[K|M|G]"),
    Refusal("-mem-prealloc on -kernel K", "-mem-prealloc: takes no value, but 'on' follows it"),
    Refusal("-name", "-name: needs a value: -name NAME"),
    Refusal("-uuid 1234", "-uuid: '1234' is not a UUID; write 8-4-4-4-12 hexadecimal digits, as uuidgen prints them"),
    Refusal("-initrd I", "-initrd: is loaded beside a kernel; add -kernel FILE"),
    Refusal("-append quiet", "-append: is given to a kernel; add -kernel FILE"),
    Refusal("-smp 2", "-kernel: a microvm boots a kernel; name its image"),
    Refusal("-drive fil=R", "-drive: unknown property 'fil'; did you mean 'file'?"),
    Refusal("-drive file", "-drive: property 'file' needs a value: file=..."),
    Refusal("-drive file=", "-drive: property 'file' needs a value: file=..."),
    Refusal("-drive id=r", "-drive r: property 'file' is missing; add file=..."),
    Refusal("-drive file=a,id=r -drive file=b,id=r", "-drive: id 'r' is used twice; choose another"),
    Refusal("-drive file=a,file=b", "-drive: property 'file' is given twice; keep one of the two"),
    Refusal("-drive file=a,if=scsi", "-drive: if must be none or pflash, not 'scsi'"),
    Refusal(
        "-drive file=a,if=pflash,unit=0",
        "-drive: if=pflash holds firmware, which this kind of machine does not have; remove it"),
    Refusal("-drive file=a,unit=0", "-drive: unit belongs to if=pflash; leave it out"),
    Refusal("-drive file=a,direct=maybe", "-drive: direct must be on or off, not 'maybe'"),
    Refusal(
        "-drive file=a,aio=nativ",
        "-drive: aio must be off, threads, native or io_uring, not 'nativ'; did you mean 'native'?"),
    Refusal("-drive file=a,aio=native,direct=off", "-drive: aio=native needs direct=on; use aio=threads with direct=off"),
    Refusal("-drive file=a,aio=off", "-drive: aio=off needs direct=off; add it, or choose another aio"),
    Refusal(
        "-drive file=a,id=r,format=qcow2 -device virtio-blk-device,drive=r -kernel K",
        "-drive r: a microvm takes raw images only; convert the image to raw"),
    Refusal("-drive file=a,format=vmdk", "-drive: format must be raw or qcow2, not 'vmdk'"),
    Refusal("-drive file=a,media=floppy", "-drive: media must be disk or cdrom, not 'floppy'"),
    Refusal("-drive file=a,media=cdrom,readonly=off", "-drive: media=cdrom cannot be written; leave readonly=off out"),
    Refusal(
        "-drive file=a,throttling.iops-total=0",
        "-drive: throttling.iops-total must be a whole number from 1 to 1000000, not '0'"),
    Refusal(
        "-drive file=a,throttling.iops-total=1000001",
        "-drive: throttling.iops-total must be a whole number from 1 to 1000000, not '1000001'"),
    Refusal("-drive file=a,l2-cache-size=64M", "-drive: l2-cache-size is 64 MiB; at most 32 MiB are allowed"),
    Refusal("-drive file=a,discard=on", "-drive: discard must be unmap or ignore, not 'on'"),
    Refusal("-drive file=a,cache=none", "-drive: unknown property 'cache'; '-drive help' lists those there are"),
    Refusal("-drive file=a,,b=c", "-kernel: a microvm boots a kernel; name its image"),
    Refusal("-device virtio-blk-device", "-device virtio-blk-device: property 'drive' is missing; add drive=..."),
    Refusal(
        "-device virtio-blk-device,drive=rotfs -drive file=R,id=rootfs",
        "-device virtio-blk-device: there is no drive 'rotfs'; did you mean 'rootfs'?"),
    Refusal("-device virtio-blk-device,drive=x", "-device virtio-blk-device: there is no drive 'x'; add -drive id=x,file=FILE"),
    Refusal(
        "-device virtio-blk-pci,drive=x",
        "-device: 'virtio-blk-pci' needs a PCI bus, which a microvm does not have; use 'virtio-blk-device'"),
    Refusal(
        "-device virtio-net-device,netdev=n",
        "-device: 'virtio-net-device' is not available in this version; '-device help' lists those that are"),
    Refusal(
        "-device vfio-pci,host=1",
        "-device: 'vfio-pci' is not available in this version; '-device help' lists those that are"),
    Refusal(
        "-device virtio-blk-devise,drive=x",
        "-device: unknown device 'virtio-blk-devise'; did you mean 'virtio-blk-device'?"),
    Refusal("-device foo", "-device: unknown device 'foo'; '-device help' lists those there are"),
    Refusal(
        "-device virtio-blk-device,drive=r,bus=pcie.0 -drive file=R,id=r",
        "-device virtio-blk-device: unknown property 'bus'; '-device virtio-blk-device,help' lists those there are"),
    Refusal(
        "-device virtio-blk-device,drive=r,num-queues=33 -drive file=R,id=r",
        "-device virtio-blk-device: num-queues must be a whole number from 1 to 32, not '33'"),
    Refusal(
        "-device virtio-blk-device,drive=r,queue-size=100 -drive file=R,id=r -kernel K",
        "-device r: queue-size is 100; powers of two from 2 to 1024 are allowed"),
    Refusal(
        "-device virtio-blk-device,drive=r,serial=123456789012345678901 -drive file=R,id=r -kernel K",
        "-device r: serial is 21 bytes long; at most 20 are allowed"),
    Refusal(
        "-device virtio-blk-device,drive=r,iothread=io -drive file=R,id=r -kernel K",
        "-device virtio-blk-device: there is no iothread 'io'; add -object iothread,id=io"),
    Refusal(
        "-device virtio-blk-device,drive=r,bootindex=256 -drive file=R,id=r",
        "-device virtio-blk-device: bootindex must be a whole number from 0 to 255, not '256'"),
    Refusal(
        "-device virtio-blk-device,drive=r,id=d -device virtio-blk-device,drive=s,id=d -drive file=R,id=r -drive file=S,id=s",
        "-device virtio-blk-device: id 'd' is used twice; choose another"),
    Refusal(
        "-device virtio-blk-device,drive=r -device virtio-blk-device,drive=r -drive file=R,id=r",
        "-device virtio-blk-device: drive 'r' is used by device 'r' already; give each its own"),
    Refusal(
        "-device virtio-blk-device,drive=a,bootindex=1 -device virtio-blk-device,drive=b,bootindex=1 -drive "
            + "file=A,id=a -drive file=B,id=b -kernel K",
        "-device b: bootindex is 1, which 'a' has already; choose another"),
    Refusal("-object iothread", "-object iothread: property 'id' is missing; add id=..."),
    Refusal("-object iothred,id=i", "-object: unknown object 'iothred'; did you mean 'iothread'?"),
    Refusal(
        "-object rng-random,id=r",
        "-object: 'rng-random' is not available in this version; '-object help' lists those that are"),
    Refusal("-object iothread,id=i -object iothread,id=i -kernel K", "-object iothread: 'i' is used twice; choose another"),
    Refusal("-serial studio", "-serial: unknown backend 'studio'; did you mean 'stdio'?"),
    Refusal("-serial file", "-serial file: property 'path' is missing; add path=..."),
    Refusal("-serial stdio -serial pty", "-serial: is given twice; keep one of the two"),
    Refusal("-serial stdio,path=x", "-serial stdio: unknown property 'path'; it takes none"),
    Refusal("-serial chardev:", "-serial: chardev: needs an id after it: chardev:ID"),
    Refusal("-serial chardev:con", "-serial chardev: there is no chardev 'con'; add -chardev KIND,id=con"),
    Refusal("-serial chardev:con0 -chardev stdio,id=con1", "-serial chardev: there is no chardev 'con0'; did you mean 'con1'?"),
    Refusal("-serial socket,server,nowait", "-serial socket: path=PATH or port=N is missing; add one"),
    Refusal("-serial socket,path=S", "-serial socket: only a listening socket is available; add server,nowait"),
    Refusal("-serial socket,path=S,server", "-serial socket: the machine starts without waiting for a client; add nowait"),
    Refusal("-serial socket,path=S,port=1,server,nowait", "-serial socket: path and port exclude each other; remove one"),
    Refusal("-serial socket,port=0,server,nowait", "-serial socket: port must be a whole number from 1 to 65535, not '0'"),
    Refusal(
        "-serial socket,port=70000,server,nowait",
        "-serial socket: port must be a whole number from 1 to 65535, not '70000'"),
    Refusal(
        "-serial socket,port=80,host=example.org,server,nowait",
        "-serial socket: 'example.org' is not a numeric address; write one such as 127.0.0.1 or [::1]"),
    Refusal("-serial mon:stdio", "-serial: unknown backend 'mon:stdio'; '-serial help' lists those there are"),
    Refusal(
        "-chardev stdio,id=a -chardev stdio,id=b -kernel K",
        "-chardev b: standard input and output are used by 'a' already; choose another backend"),
    Refusal("-chardev pty,id=a -chardev pty,id=a", "-chardev pty: id 'a' is used twice; choose another"),
    Refusal("-chardev tty,id=a", "-chardev: unknown backend 'tty'; did you mean 'pty'?"),
    Refusal("-qmp unix:S", "-qmp: only a listening socket is available; add server,nowait"),
    Refusal("-qmp unix:S,server", "-qmp: the machine starts without waiting for a client; add nowait"),
    Refusal("-qmp S,server,nowait", "-qmp: unknown address 'S'; write unix:PATH,server,nowait or tcp:IP:PORT,server,nowait"),
    Refusal("-qmp unx:S,server,nowait", "-qmp: unknown address 'unx:S'; did you mean 'unix'?"),
    Refusal("-qmp unix:,server,nowait", "-qmp: unix: needs a path after it: unix:PATH,server,nowait"),
    Refusal("-qmp tcp:127.0.0.1,server,nowait", "-qmp: tcp:127.0.0.1 has no port; write tcp:IP:PORT,server,nowait"),
    Refusal("-qmp tcp:127.0.0.1:99999,server,nowait", "-qmp: port must be a whole number from 1 to 65535, not '99999'"),
    Refusal(
        "-qmp tcp:example.org:1,server,nowait",
        "-qmp: 'example.org' is not a numeric address; write one such as 127.0.0.1 or [::1]"),
    Refusal("-qmp unix:S,server,nowait -qmp unix:S,server,nowait", "-qmp: 'S' is used twice; choose another"),
    Refusal("-qmp unix:S,server,nowait,iothread=i", "-qmp: there is no iothread 'i'; add -object iothread,id=i"),
    Refusal("-qmp unix:S,server,nowait -serial socket,path=S,server,nowait", "-qmp: 'S' is used twice; choose another"),
    Refusal("-mon chardev=m", "-mon: there is no chardev 'm'; add -chardev KIND,id=m"),
    Refusal(
        "-mon chardev=m,mode=readline -chardev socket,id=m,path=S,server,nowait",
        "-mon: mode must be control, not 'readline'"),
    Refusal("-mon chardev=m -chardev pty,id=m", "-mon: chardev 'm' is not a socket; QMP needs one"),
    Refusal("-mon mode=control", "-mon: property 'chardev' is missing; add chardev=..."),
    Refusal(
        "-mon chardev=m -serial chardev:m -chardev socket,id=m,path=S,server,nowait",
        "-mon: chardev 'm' is used by -serial already; give each its own"),
    Refusal("-landlock -kernel K", "-landlock: needs a value: -landlock on|off|path=DIR"),
    Refusal("-landlock maybe -kernel K", "-landlock: state must be on or off, not 'maybe'"),
    Refusal("-landlock pat=/d -kernel K", "-landlock: unknown property 'pat'; did you mean 'path'?"),
    Refusal("-landlock path= -kernel K", "-landlock: property 'path' needs a value: path=..."),
    Refusal("-landlock off,path=/d -kernel K", "-landlock: a path has no meaning with off; leave one of the two out"),
    Refusal("-landlock off -landlock path=/d -kernel K", "-landlock: is both on and off; leave one of the two out"),
    Refusal("-pidfile P -kernel K", "-pidfile: is written by a daemon; add -daemonize, or leave -pidfile out"),
    Refusal(
        "-daemonize -serial stdio -kernel K",
        "-daemonize: a daemon has no standard input and output; choose another backend than stdio, such as pty"),
    Refusal("-D a b", "-D: unexpected word 'b' after its value; put quotes around a value with spaces"),
    Refusal("-h=1", "-h: takes no value; leave out what follows '='"),
    Refusal("-machine none -kernel K", "-kernel: a machine of kind none boots nothing; choose microvm"),
    Refusal(
        "-drive file=a,id=r -object iothread,id=io0 -device virtio-blk-device,drive=r,iothread=io1",
        "-device virtio-blk-device: there is no iothread 'io1'; did you mean 'io0'?"),
    Refusal(
        "-drive file=a,id=a -drive file=b,id=b -drive file=c,id=c -drive file=d,id=d -drive file=e,id=e "
            + "-device virtio-blk-device,drive=a -device virtio-blk-device,drive=b -device "
            + "virtio-blk-device,drive=c -device virtio-blk-device,drive=d -device virtio-blk-device,drive=e -kernel K",
        "-device: a microvm has 4 slots for block devices, but 5 are given; remove some"),
    Refusal(
        "-kernel K -object iothread,id=a -object iothread,id=b -object iothread,id=c -object iothread,id=d "
            + "-object iothread,id=e -object iothread,id=f -object iothread,id=g -object iothread,id=h -object iothread,id=i",
        "-object: 9 are given; at most 8 are allowed"),
    Refusal("-machine standard_vm -drive file=a,if=pflash", "-drive: if=pflash needs unit=0 for code or unit=1 for variables"),
    Refusal("-machine standard_vm -drive file=a,if=pflash,unit=2", "-drive: unit must be a whole number from 0 to 1, not '2'"),
    Refusal(
        "-machine standard_vm -drive file=a,if=pflash,unit=0 -drive file=b,if=pflash,unit=0",
        "-drive: unit=0 is given twice; there is one pflash of each"),
    Refusal(
        "-machine standard_vm -drive file=a,if=pflash,unit=1",
        "-drive: if=pflash,unit=1 holds variables of the firmware in unit=0, which is missing; add it"),
    Refusal(
        "-machine standard_vm -drive file=a,if=pflash,unit=0 -drive file=a,if=pflash,unit=1",
        "-drive if=pflash,unit=1: file is the same file as unit 0; give the variables a file of their own"),
    Refusal(
        "-machine standard_vm -drive file=a,if=pflash,unit=0 -drive file=b,if=pflash,unit=1,readonly=on",
        "-drive if=pflash,unit=1: file is read-only, but the firmware has to write its variables there: leave readonly out, "
            + "or leave unit 1 out"),
    Refusal(
        "-machine standard_vm -drive file=a,if=pflash,unit=0,format=qcow2", "-drive: if=pflash takes raw images only"),
    Refusal(
        "-kernel K -drive file=a,if=pflash,unit=0",
        "-drive: if=pflash holds firmware, which this kind of machine does not have; remove it"),
    Refusal(
        "-kernel K -device pcie-root-port,id=p",
        "-device: 'pcie-root-port' needs a PCI bus, which a microvm does not have; choose -machine standard_vm"),
    Refusal(
        "-machine standard_vm -kernel K -drive file=a,id=a -device virtio-blk-pci,drive=a,addr=0x20",
        "-device virtio-blk-pci: addr must be SLOT or SLOT.FUNCTION, with slots from 0 to 31 (0x1f) and functions from 0 to 7, "
            + "not '0x20'"),
    Refusal(
        "-machine standard_vm -kernel K -drive file=a,id=a -device virtio-blk-pci,drive=a,addr=3.8",
        "-device virtio-blk-pci: addr must be SLOT or SLOT.FUNCTION, with slots from 0 to 31 (0x1f) and functions from 0 to 7, "
            + "not '3.8'"),
    Refusal(
        "-machine standard_vm -kernel K -drive file=a,id=a -device virtio-blk-pci,drive=a,addr=0",
        "-device a: place 0 of bus pcie.0 belongs to the chip set; choose another"),
    Refusal(
        "-machine standard_vm -kernel K -drive file=a,id=a -drive file=b,id=b -device virtio-blk-pci,drive=a,addr=3 "
            + "-device virtio-blk-pci,drive=b,addr=0x3",
        "-device b: place 3.0 of bus pcie.0 is taken by 'a'; choose another"),
    Refusal(
        "-machine standard_vm -kernel K -drive file=a,id=a -device virtio-blk-pci,drive=a,bus=pcie.1",
        "-device a: there is no bus 'pcie.1'; there are pcie.0"),
    Refusal(
        "-machine standard_vm -kernel K -device pcie-root-port,id=p -drive file=a,id=a -device virtio-blk-pci,drive=a,bus=p,addr=1",
        "-device a: bus p is behind a root port, and has place 0 alone"),
    Refusal(
        "-machine standard_vm -kernel K -device pcie-root-port,id=p -device pcie-root-port,id=q,bus=p",
        "-device q: a root port is on bus pcie.0 alone"),
    Refusal(
        "-machine standard_vm -kernel K -device pcie-root-port,port=1",
        "-device pcie-root-port: property 'id' is missing; add id=..."),
    Refusal(
        "-machine standard_vm -kernel K -device pcie-root-port,id=p,port=0x100",
        "-device pcie-root-port: port must be a number from 0 to 255, not '0x100'"),
    Refusal(
        "-machine standard_vm -kernel K -device pcie-root-port,id=p,port=1 -device pcie-root-port,id=q,port=1",
        "-device q: port is 1, which 'p' has already; choose another"),
    Refusal(
        "-machine standard_vm -kernel K -drive file=a,id=a,format=qcow2 -device virtio-blk-pci,drive=a",
        "-drive a: only raw images are available in this version; convert the image to raw"),
    Refusal("-kernel K -smbios type=1", "-smbios: a standard machine alone has SMBIOS; choose -machine standard_vm"),
    Refusal("-machine standard_vm -kernel K -smbios type=5", "-smbios: type must be 0, 1, 2, 3, 4 or 17, not '5'"),
    Refusal(
        "-machine standard_vm -kernel K -smbios type=1,produkt=x",
        "-smbios: unknown property 'produkt'; did you mean 'product'?"),
    Refusal(
        "-machine standard_vm -kernel K -smbios type=1,product=x -smbios type=1,serial=y",
        "-smbios: type=1 is given twice; join the two"),
    Refusal(
        "-machine standard_vm -kernel K -smbios type=4,max-speed=65536",
        "-smbios: max-speed must be a whole number from 0 to 65535, not '65536'"),
    Refusal(
        "-machine standard_vm -kernel K -uuid 9a1f2c3d-0000-4000-8000-00000000000a "
            + "-smbios type=1,uuid=9a1f2c3d-0000-4000-8000-00000000000b",
        "-smbios 1: uuid is 9a1f2c3d-0000-4000-8000-00000000000b, but -uuid says 9a1f2c3d-0000-4000-8000-00000000000a; "
            + "give one of them"),
    Refusal(
        "-machine standard_vm -kernel K -smbios type=2,product=b\u{00F6}se",
        "-smbios 2: product contains a character that is not ASCII; SMBIOS has no others"),
]
