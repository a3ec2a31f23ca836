// A resident Java compiler: reads programs on standard input, answers with their classes on standard output, until input ends.
//   request  int length, that many bytes of UTF-8 source
//   reply    byte ok, long CPU nanoseconds, int length, payload: when ok the classes (int count, then name, int length, bytes each),
//            else the diagnostics
// Starting javac costs a second and its first compilations several; this process pays once. It reads no files of programs and writes none.
package oorl;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Writer;
import java.lang.management.ManagementFactory;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

public final class JavacServer {
    /** The program's text; any public class may live in it, whatever the file's name. */
    static final class Source extends SimpleJavaFileObject {
        final String text;

        Source(String text) {
            super(URI.create("string:///Main.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }

        @Override
        public boolean isNameCompatible(String simpleName, Kind kind) {
            return true;
        }
    }

    /** Keeps the classes of one compilation in memory. */
    static final class Memory extends ForwardingJavaFileManager<StandardJavaFileManager> {
        final Map<String, ByteArrayOutputStream> classes = new LinkedHashMap<>();

        Memory(StandardJavaFileManager platform) {
            super(platform);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            classes.put(name, bytes);
            return new SimpleJavaFileObject(URI.create("string:///" + name.replace('.', '/') + ".class"), kind) {
                @Override
                public OutputStream openOutputStream() {
                    return bytes;
                }
            };
        }

        @Override
        public void close() {
            // The platform's index outlives this compilation.
        }
    }

    static byte[] packed(Map<String, ByteArrayOutputStream> classes) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        out.writeInt(classes.size());
        for (Map.Entry<String, ByteArrayOutputStream> item : classes.entrySet()) {
            out.writeUTF(item.getKey());
            out.writeInt(item.getValue().size());
            item.getValue().writeTo(out);
        }
        return bytes.toByteArray();
    }

    static String complaint(List<Diagnostic<? extends JavaFileObject>> diagnostics) {
        StringBuilder text = new StringBuilder();
        for (Diagnostic<? extends JavaFileObject> diagnostic : diagnostics) {
            if (diagnostic.getKind() != Diagnostic.Kind.ERROR || text.length() > 2000) continue;
            text.append("Main.java:").append(diagnostic.getLineNumber()).append(": ").append(diagnostic.getMessage(Locale.ENGLISH)).append('\n');
        }
        return text.length() > 0 ? text.toString() : "the compiler gave up without a message";
    }

    /** Ends the process when a compilation uses more CPU time than it may; the caller starts another. */
    static final class Watch extends Thread {
        final Thread compiling = Thread.currentThread();
        volatile long deadline = Long.MAX_VALUE;

        @Override
        public void run() {
            var threads = ManagementFactory.getThreadMXBean();
            while (threads.getThreadCpuTime(compiling.getId()) < deadline) {
                try {
                    Thread.sleep(20);
                } catch (InterruptedException ignored) {
                    // Nobody interrupts it.
                }
            }
            Runtime.getRuntime().halt(3);
        }
    }

    /** java oorl.JavacServer CPU_SECONDS JAVAC_OPTION... */
    public static void main(String[] words) throws IOException {
        long limit = (long) (Double.parseDouble(words[0]) * 1e9);
        List<String> options = List.of(words).subList(1, words.length);
        Watch watch = new Watch();
        watch.setDaemon(true);
        watch.start();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StandardJavaFileManager platform = compiler.getStandardFileManager(null, Locale.ENGLISH, StandardCharsets.UTF_8);
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 65536));
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 65536));
        System.setOut(System.err);
        var threads = ManagementFactory.getThreadMXBean();
        while (true) {
            byte[] text;
            try {
                text = in.readNBytes(in.readInt());
            } catch (IOException ended) {
                return;
            }
            long started = threads.getCurrentThreadCpuTime();
            watch.deadline = started + limit;
            boolean ok = false;
            byte[] payload;
            try {
                Memory memory = new Memory(platform);
                DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
                var sources = List.of(new Source(new String(text, StandardCharsets.UTF_8)));
                ok = compiler.getTask(Writer.nullWriter(), memory, diagnostics, options, null, sources).call();
                payload = ok ? packed(memory.classes) : complaint(diagnostics.getDiagnostics()).getBytes(StandardCharsets.UTF_8);
            } catch (Throwable error) {  // javac runs out of stack on deeply nested code, and has bugs
                ok = false;
                payload = ("the compiler failed: " + error.getClass().getName()).getBytes(StandardCharsets.UTF_8);
            }
            watch.deadline = Long.MAX_VALUE;
            out.writeByte(ok ? 1 : 0);
            out.writeLong(threads.getCurrentThreadCpuTime() - started);
            out.writeInt(payload.length);
            out.write(payload);
            out.flush();
        }
    }
}
