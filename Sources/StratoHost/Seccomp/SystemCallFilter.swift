internal import CStratoLinux
internal import Glibc

/// What a thread may ask of the kernel: everything that is not named is refused with SIGSYS, which ends the process unless
/// it is handled.
///
/// A filter is written down call by call, those that are made most often first, and then put in place for a thread. It is
/// a program for the kernel's classic BPF machine (seccomp(2)), which runs it at each call:
///
///     other architecture ──────────────────────────► end of the process
///     number = first call ─── arguments as named ──► allowed
///            ≠     │                 otherwise ────► refused
///     number = next call …
///            ≠
///     any other number ────────────────────────────► refused
@safe
package struct SystemCallFilter: ~Copyable {
    /// A kind of thread: it stands in what the kernel tells of a refused call.
    package enum Kind: Sendable {
        case main, processor, inputOutput

        var number: UInt16 {
            switch self {
            case .main: CSL_THREAD_MAIN.rawValue
            case .processor: CSL_THREAD_PROCESSOR.rawValue
            case .inputOutput: CSL_THREAD_IO.rawValue
            }
        }
    }

    /// One instruction, as `struct sock_filter` has it.
    package struct Instruction: Sendable, Equatable {
        package let code: UInt16
        /// Instructions to leave out where a comparison holds, and where it does not.
        package let jumps: (ifTrue: UInt8, ifFalse: UInt8)
        package let operand: UInt32

        package static func == (left: Instruction, right: Instruction) -> Bool {
            left.code == right.code && left.jumps == right.jumps && left.operand == right.operand
        }
    }

    /// Calls that are allowed, with any arguments or some; those that are answered with an error do not count.
    package private(set) var allowedCount = 0

    /// More than any thread needs; the kernel takes 4096 (BPF_MAXINSNS).
    private static let capacity = 256

    // SAFETY: of `capacity` instructions, the first `count` of which are initialized. An array would have the language's runtime
    // make types for it, in memory that each process keeps.
    private let program: UnsafeMutablePointer<sock_filter>
    private var count = 0
    private var isTooLong = false
    private let kind: Kind

    /// A filter that refuses everything.
    package init(for kind: Kind) {
        // In two steps: Swift 6.2's compiler lets nothing change a value that it still makes.
        self.init(emptyFor: kind)
        load(CSL_FILTER_ARCHITECTURE.rawValue)
        // The numbers below mean other calls on other architectures, which a process can switch to.
        append(CSL_FILTER_JUMP_EQUAL, CSL_FILTER_NATIVE.rawValue, ifTrue: 1, ifFalse: 0)
        append(CSL_FILTER_RETURN, CSL_FILTER_KILL.rawValue)
        load(CSL_FILTER_NUMBER.rawValue)
    }

    private init(emptyFor kind: Kind) {
        self.kind = kind
        unsafe program = .allocate(capacity: SystemCallFilter.capacity)
    }

    deinit {
        unsafe program.deallocate()
    }

    /// The rules as a program; what comes to its end is refused by one instruction more.
    package var instructions: [Instruction] {
        (0..<count).map { index in
            let entry = unsafe program[index]
            return Instruction(code: entry.code, jumps: (entry.jt, entry.jf), operand: entry.k)
        } + [Instruction(code: CSL_FILTER_RETURN.rawValue, jumps: (0, 0), operand: refusal)]
    }

    private var refusal: UInt32 { CSL_FILTER_TRAP.rawValue | UInt32(kind.number) }

    // MARK: Rules

    /// Allows a call whatever its arguments.
    package mutating func allow(_ call: Int32) {
        allowedCount += 1
        append(CSL_FILTER_JUMP_EQUAL, UInt32(bitPattern: call), ifTrue: 0, ifFalse: 1)
        append(CSL_FILTER_RETURN, CSL_FILTER_ALLOW.rawValue)
    }

    /// Allows a call if one of its arguments has one of some values.
    ///
    /// - Parameters:
    ///   - call: the number.
    ///   - argument: which, 0...5. The kernel knows it as 32 bits: what stands above them has no meaning.
    ///   - values: at most 120.
    ///   - zero: another argument, of 32 bits, that has to be 0.
    package mutating func allow(_ call: Int32, argument: Int, isOneOf values: [UInt32], withZero zero: Int? = nil) {
        allowedCount += 1
        let checkCount = 2 + values.count * 2 + (zero == nil ? 0 : 3)
        append(CSL_FILTER_JUMP_EQUAL, UInt32(bitPattern: call), ifTrue: 0, ifFalse: UInt8(clamping: checkCount))
        if let zero {
            load(SystemCallFilter.lowHalf(of: zero))
            append(CSL_FILTER_JUMP_EQUAL, 0, ifTrue: 1, ifFalse: 0)
            append(CSL_FILTER_RETURN, refusal)
        }
        load(SystemCallFilter.lowHalf(of: argument))
        for value in values {
            append(CSL_FILTER_JUMP_EQUAL, value, ifTrue: 0, ifFalse: 1)
            append(CSL_FILTER_RETURN, CSL_FILTER_ALLOW.rawValue)
        }
        append(CSL_FILTER_RETURN, refusal)
    }

    /// Allows a call if one of its arguments, of 64 bits, has no bits set but some.
    ///
    /// - Parameters:
    ///   - call: the number.
    ///   - argument: which, 0...5.
    ///   - bits: that may be set.
    package mutating func allow(_ call: Int32, argument: Int, hasOnly bits: UInt32) {
        allowedCount += 1
        append(CSL_FILTER_JUMP_EQUAL, UInt32(bitPattern: call), ifTrue: 0, ifFalse: 6)
        load(SystemCallFilter.lowHalf(of: argument))
        append(CSL_FILTER_JUMP_ANY, ~bits, ifTrue: 2, ifFalse: 0)
        load(SystemCallFilter.lowHalf(of: argument) + 4)
        append(CSL_FILTER_JUMP_EQUAL, 0, ifTrue: 1, ifFalse: 0)
        append(CSL_FILTER_RETURN, refusal)
        append(CSL_FILTER_RETURN, CSL_FILTER_ALLOW.rawValue)
    }

    /// Answers a call with an error instead of ending the process, for what a library tries and can do without.
    ///
    /// - Parameters:
    ///   - call: the number.
    ///   - code: an `errno` value.
    package mutating func refuse(_ call: Int32, with code: Int32) {
        append(CSL_FILTER_JUMP_EQUAL, UInt32(bitPattern: call), ifTrue: 0, ifFalse: 1)
        append(CSL_FILTER_RETURN, CSL_FILTER_REFUSE.rawValue | UInt32(UInt16(truncatingIfNeeded: code)))
    }

    // MARK: Use

    /// Whether the kernel has filters.
    ///
    /// - Throws: `LinuxError` if it has none.
    package static func checkAvailability() throws(LinuxError) {
        try LinuxError.check(csl_filters_available(), "filter system calls")
    }

    /// Puts the filter in place for the calling thread, and those that it starts from now on. It stays there, and one that is
    /// added later can only allow less.
    ///
    /// - Throws: `LinuxError`, E2BIG for rules that are more than a filter has room for.
    package consuming func install() throws(LinuxError) {
        append(CSL_FILTER_RETURN, refusal)
        guard !isTooLong else { throw LinuxError(code: E2BIG, operation: "filter system calls") }
        // SAFETY: the kernel copies the program.
        try LinuxError.check(unsafe csl_install_filter(program, UInt16(clamping: count)), "filter system calls")
    }

    // MARK: Assembly

    /// Both architectures keep the low half of an argument first.
    private static func lowHalf(of argument: Int) -> UInt32 {
        CSL_FILTER_ARGUMENTS.rawValue + UInt32(clamping: argument) * 8
    }

    private mutating func load(_ offset: UInt32) {
        append(CSL_FILTER_LOAD, offset)
    }

    private mutating func append(
        _ code: csl_filter_code, _ operand: UInt32, ifTrue: UInt8 = 0, ifFalse: UInt8 = 0
    ) {
        guard count < SystemCallFilter.capacity else {
            isTooLong = true
            return
        }
        unsafe (program + count).initialize(to: sock_filter(code: code.rawValue, jt: ifTrue, jf: ifFalse, k: operand))
        count += 1
    }
}
