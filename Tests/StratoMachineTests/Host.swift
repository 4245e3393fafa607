import StratoKVM

/// There is a KVM that runs guests of a few instructions.
let hasKVM: Bool = {
    if case .absent = KVMEnvironment.detect() { return false }
    return true
}()

/// KVM runs everything that a processor does.
let runsAnyGuest = KVMEnvironment.detect() == .complete
