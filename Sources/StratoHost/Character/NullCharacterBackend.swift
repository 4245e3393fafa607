/// Nothing: input never comes, output is dropped.
package final class NullCharacterBackend: CharacterBackend {
    package init() {}

    package func attach(_ receiver: any CharacterReceiver) {}
    package func detach() {}
    package func write(_ bytes: Span<UInt8>) {}
    package func resumeInput() {}
    package var filename: String { "null" }
    package var droppedCount: UInt64 { 0 }
    package func close() {}
}
