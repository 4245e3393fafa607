/// Values side by side, up to a number that was fixed when it was made.
///
/// What paths that a guest drives keep instead of an array: nothing is counted, copied or asked whether it is shared.
@frozen @usableFromInline
@safe
package struct FixedVector<Element: BitwiseCopyable>: ~Copyable {
    // SAFETY: allocated by init for `capacity` elements, freed by deinit; the first `count` are initialised.
    @usableFromInline let start: UnsafeMutablePointer<Element>
    @usableFromInline let room: Int
    @usableFromInline var filled = 0

    /// - Parameter capacity: the most elements, not negative.
    @inlinable
    package init(capacity: Int) {
        room = max(0, capacity)
        unsafe start = .allocate(capacity: max(1, capacity))
    }

    @inlinable
    package init(repeating element: Element, count: Int) {
        self.init(capacity: count)
        for _ in 0..<room { append(element) }
    }

    @inlinable
    deinit {
        unsafe start.deallocate()
    }

    @inlinable package var count: Int { filled }
    @inlinable package var capacity: Int { room }
    @inlinable package var isEmpty: Bool { filled == 0 }

    /// An index that is not below `count` is a mistake in the program.
    @inlinable
    package subscript(_ index: Int) -> Element {
        get {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: filled))
            return unsafe start[index]
        }
        set {
            precondition(UInt(bitPattern: index) < UInt(bitPattern: filled))
            unsafe start[index] = newValue
        }
    }

    /// Adds an element; false, and nothing is added, if there is no room.
    @inlinable
    @discardableResult
    package mutating func append(_ element: Element) -> Bool {
        guard filled < room else { return false }
        unsafe (start + filled).initialize(to: element)
        filled &+= 1
        return true
    }

    /// Adds as many elements as there is room for; false if that was not all of them.
    @inlinable
    @discardableResult
    package mutating func append(_ elements: Span<Element>) -> Bool {
        let taken = min(elements.count, room &- filled)
        // SAFETY: `taken` elements are there, and there is room for as many.
        unsafe elements.withUnsafeBufferPointer { source in
            guard let first = source.baseAddress else { return }
            unsafe (start + filled).update(from: first, count: taken)
        }
        filled &+= taken
        return taken == elements.count
    }

    @inlinable
    package mutating func popLast() -> Element? {
        guard filled > 0 else { return nil }
        filled &-= 1
        return unsafe start[filled]
    }

    @inlinable
    package mutating func removeAll() { filled = 0 }

    /// The elements.
    @inlinable
    package var span: Span<Element> {
        @_lifetime(borrow self)
        get {
            // SAFETY: the elements live as long as this value, which the span borrows.
            unsafe _overrideLifetime(Span(_unsafeStart: start, count: filled), borrowing: self)
        }
    }

    /// The elements, to be changed.
    @inlinable
    package var mutableSpan: MutableSpan<Element> {
        @_lifetime(&self)
        mutating get {
            // SAFETY: as above.
            unsafe _overrideLifetime(MutableSpan(_unsafeStart: start, count: filled), mutating: &self)
        }
    }

    /// The elements' place, for system calls that take it.
    @unsafe
    @inlinable
    package var address: UnsafeMutablePointer<Element> { unsafe start }
}

// SAFETY: a value that owns its memory alone moves between threads as its elements do.
extension FixedVector: @unchecked Sendable where Element: Sendable {}
