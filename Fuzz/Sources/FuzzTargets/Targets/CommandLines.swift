@testable internal import StratoVirtCommand

extension FuzzTarget {
    /// The words of a command line, one a line: all that can come of them is a machine, a text or one line that says what is wrong.
    static let commandLine = FuzzTarget("command-line", seeds: commandLineSeeds) { input in
        let words = input.rest().split(separator: 0x0A, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        do throws(CommandLineError) {
            let result = try CommandLineParser.parse(words)
            try result.check()
            for warning in result.warnings { expect(!warning.contains("\n"), "a warning is one line") }
        } catch {
            expect(!error.description.isEmpty && !error.description.contains("\n"), "an error is one line")
        }
    }

    @Sendable private static func commandLineSeeds() -> [(name: String, bytes: [UInt8])] {
        let boot = "-kernel vmlinux -append console=ttyS0 -smp 2 -m 256M"
        let lines = [
            "-machine microvm \(boot) -serial stdio -qmp unix:/q,server,nowait",
            "-machine q35 -drive if=pflash,unit=0,file=/code,readonly=on -drive if=pflash,unit=1,file=/vars",
            "-machine virt,gic-version=3,accel=kvm -cpu host -m size=1G,slots=2,maxmem=2G",
            "-machine microvm \(boot) -drive id=d,file=/disk,format=raw,aio=native,direct=on -device virtio-blk-device,drive=d,id=b",
            "-device pcie-root-port,id=p,port=0x1,bus=pcie.0,addr=0x1.0x0,chassis=1 -device virtio-blk-pci,drive=d,bus=p,addr=0x0",
            "-smp cpus=4,sockets=1,dies=1,cores=2,threads=2,maxcpus=4 -mem-path /dev/hugepages -mem-prealloc -overcommit mem-lock=on",
            "-chardev socket,id=c,path=/s,server,nowait -serial chardev:c -mon chardev=c,mode=control",
            "-chardev pty,id=c -device isa-serial,chardev=c -object iothread,id=io -initrd /initrd",
            "-smbios type=1,manufacturer=x,uuid=00112233-4455-6677-8899-aabbccddeeff -uuid 00112233-4455-6677-8899-aabbccddeeff",
            "-D /log -d trace -daemonize -pidfile /pid -S -no-shutdown -name guest -nodefaults",
            "-help", "-version", "-kernel -append", "--machine=microvm -- x", "-drive throttling.iops-total=7,id=d,file=/d",
        ]
        return lines.enumerated().map { ("line-\($0)", Array($1.replacing(" ", with: "\n").utf8)) }
    }
}
