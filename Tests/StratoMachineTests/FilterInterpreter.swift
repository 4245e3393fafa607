import CStratoLinux
import StratoHost

/// Runs a filter as the kernel does (seccomp(2), classic BPF), on a call that is not made.
struct FilterInterpreter {
    enum Answer: Equatable {
        case allowed
        /// SIGSYS, with the data of the answer.
        case refused(UInt16)
        case failed(Int32)
        case killed
    }

    let instructions: [SystemCallFilter.Instruction]

    init(_ filter: borrowing SystemCallFilter) {
        instructions = filter.instructions
    }

    /// Nil for a program that the kernel would not take.
    func answer(
        _ number: Int32, _ arguments: [UInt64] = [], architecture: UInt32 = CSL_FILTER_NATIVE.rawValue
    ) -> Answer? {
        // struct seccomp_data in words: number, architecture, place of the call, arguments from low half to high.
        var data = [UInt32](repeating: 0, count: 16)
        data[0] = UInt32(bitPattern: number)
        data[1] = architecture
        for (index, argument) in arguments.enumerated() {
            data[4 + index * 2] = UInt32(truncatingIfNeeded: argument)
            data[5 + index * 2] = UInt32(truncatingIfNeeded: argument >> 32)
        }
        var position = 0
        var accumulator: UInt32 = 0
        while instructions.indices.contains(position) {
            let instruction = instructions[position]
            position += 1
            switch instruction.code {
            case CSL_FILTER_LOAD.rawValue:
                guard instruction.operand % 4 == 0, instruction.operand < 64 else { return nil }
                accumulator = data[Int(instruction.operand / 4)]
            case CSL_FILTER_JUMP_EQUAL.rawValue:
                position += Int(accumulator == instruction.operand ? instruction.jumps.ifTrue : instruction.jumps.ifFalse)
            case CSL_FILTER_JUMP_ANY.rawValue:
                let isAny = accumulator & instruction.operand != 0
                position += Int(isAny ? instruction.jumps.ifTrue : instruction.jumps.ifFalse)
            case CSL_FILTER_RETURN.rawValue:
                let value = UInt16(truncatingIfNeeded: instruction.operand)
                switch instruction.operand & 0xFFFF_0000 {
                case CSL_FILTER_ALLOW.rawValue: return .allowed
                case CSL_FILTER_TRAP.rawValue: return .refused(value)
                case CSL_FILTER_REFUSE.rawValue: return .failed(Int32(value))
                case CSL_FILTER_KILL.rawValue: return .killed
                default: return nil
                }
            default: return nil
            }
        }
        return nil
    }
}
